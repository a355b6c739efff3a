/* A POP3 server for benchmarks: one thread, one epoll, a maildrop that is never in memory.
 *
 *   server --maildrop 200x4096,2x1048576 [--port N] [--chain FILE --key FILE] [--spoil WHAT]
 *
 * It listens on loopback and says "port N" on its output; without --port, N is free. --chain and
 * --key (PEM) make it speak TLS from the first byte. --spoil changes what is sent: "flip" one octet
 * in each mebibyte, "short" a line less, "long" a line more; the load has to find it.
 * Every user may log in. It ends with SIGTERM.
 */
#include "shared.h"

#include <sys/uio.h>

enum { INPUT = 4096, OUTPUT = 1 << 16, TURN = 1 << 22 };

struct session {
    struct wire wire;
    bool leaving;
    uint32_t waits_for; /* epoll's events */
    char input[INPUT];
    size_t input_size;
    char *output; /* status lines and small responses, collected */
    size_t output_at, output_size, output_room;
    struct response large; /* and one that is sent without a copy, behind them */
};

static int poll_fd;
static int spoilt_lines;

static void collect(struct session *s, const char *from, size_t size) {
    if (s->output_size + size > s->output_room) {
        s->output_room = 2 * (s->output_size + size);
        s->output = allocate(s->output, s->output_room);
    }
    memcpy(s->output + s->output_size, from, size);
    s->output_size += size;
}

static void respond(struct session *s, enum verb verb, size_t number) {
    struct response r;
    response(&r, verb, number);
    if (verb == RETR) r.body_left += (size_t)(spoilt_lines * LINE);
    if (octets_left(&r) > OUTPUT) {
        s->large = r;
        return;
    }
    size_t size;
    for (const char *from = next_octets(&r, &size); size; from = next_octets(&r, &size)) {
        collect(s, from, size);
        go_on(&r, size);
    }
}

static void obey(struct session *s, char *line) {
    static const char *const keywords[VERBS] = {"",     "USER", "PASS", "NOOP", "STAT",
                                                "LIST", "",     "UIDL", "RETR", "QUIT"};
    char *argument = strchr(line, ' ');
    if (argument != NULL) *argument++ = 0;
    size_t number = argument != NULL ? strtoul(argument, NULL, 10) : 0;
    bool known = number >= 1 && number <= message_count;
    for (enum verb verb = USER; verb < VERBS; verb++) {
        if (strcasecmp(line, keywords[verb]) != 0) continue;
        if (verb == LIST && argument != NULL) verb = LIST_ONE;
        if ((verb == LIST_ONE || verb == RETR) && !known) break;
        s->leaving = verb == QUIT;
        respond(s, verb, number);
        return;
    }
    collect(s, "-ERR no\r\n", 9);
}

/* Answer the whole lines of the input, as long as answers can be collected. */
static bool answer(struct session *s) {
    size_t at = 0;
    while (!s->leaving && s->output_size < OUTPUT && octets_left(&s->large) == 0) {
        char *line = s->input + at;
        char *end = memchr(line, '\n', s->input_size - at);
        if (end == NULL) break;
        *end = 0;
        if (end > line && end[-1] == '\r') end[-1] = 0;
        at = (size_t)(end - s->input) + 1;
        obey(s, line);
    }
    memmove(s->input, s->input + at, s->input_size -= at);
    return at != 0;
}

/* One call of the system: what was collected and what follows it, together where that can be. */
static ssize_t send_some(struct session *s) {
    struct iovec parts[5];
    int count = 0;
    size_t size = s->output_size - s->output_at;
    if (size) parts[count++] = (struct iovec){s->output + s->output_at, size};
    struct response rest = s->large;
    while (count < 5) {
        const char *from = next_octets(&rest, &size);
        if (size == 0) break;
        if (from >= rest.status && from < rest.status + sizeof rest.status)
            from = s->large.status + s->large.status_at;
        parts[count++] = (struct iovec){(void *)from, size};
        go_on(&rest, size);
    }
#ifdef WITH_TLS
    if (s->wire.tls != NULL) return wire_write(&s->wire, parts[0].iov_base, parts[0].iov_len);
#endif
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
    return sendmsg(s->wire.fd, &message, MSG_NOSIGNAL);
}

/* 1: all is sent; 0: the wire is full, or it is another session's turn; -1: it is broken. */
static int flush(struct session *s) {
    for (size_t turn = 0; s->output_at < s->output_size || octets_left(&s->large);) {
        if (turn > TURN) return 0;
        ssize_t sent = send_some(s);
        if (sent < 0) return errno == EAGAIN ? 0 : -1;
        turn += (size_t)sent;
        size_t collected = smaller((size_t)sent, s->output_size - s->output_at);
        s->output_at += collected;
        for (size_t left = (size_t)sent - collected, part; left; left -= part) {
            next_octets(&s->large, &part);
            part = smaller(part, left);
            go_on(&s->large, part);
        }
    }
    s->output_at = s->output_size = 0;
    return 1;
}

/* While an answer waits for room nothing is read: a client that does not read is not obeyed. */
static void wait_for(struct session *s, bool room) {
    uint32_t events = room && !waits_to_read(&s->wire) ? EPOLLOUT : EPOLLIN;
    if (s->waits_for == events) return;
    s->waits_for = events;
    struct epoll_event event = {.events = events, .data.ptr = s};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, s->wire.fd, &event);
}

static void end(struct session *s) {
    wire_close(&s->wire);
    free(s->output);
    free(s);
}

static void serve(struct session *s) {
    for (bool drained = false;;) {
        int flushed = flush(s);
        if (flushed < 0 || (flushed > 0 && s->leaving)) return end(s);
        wait_for(s, flushed == 0);
        if (flushed == 0) return;
        if (answer(s)) continue;
        if (drained) return;
        if (s->input_size == INPUT) return end(s); /* a line that long is no command */
        size_t room = INPUT - s->input_size;
        ssize_t got = wire_read(&s->wire, s->input + s->input_size, room);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) return end(s);
        s->input_size += (size_t)got;
        drained = (size_t)got < room;
#ifdef WITH_TLS
        drained = drained && s->wire.tls == NULL;
#endif
    }
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct session *s = allocate(NULL, sizeof *s);
        memset(s, 0, sizeof *s);
        s->wire = wire_of(fd);
#ifdef WITH_TLS
        if (s->wire.tls != NULL) SSL_set_accept_state(s->wire.tls);
#endif
        s->waits_for = EPOLLIN;
        struct epoll_event event = {.events = s->waits_for, .data.ptr = s};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
        respond(s, GREETING, 0);
        serve(s);
    }
}

static void spoil(const char *what) {
    if (strcmp(what, "flip") == 0) endless[6000 * LINE + 30] ^= 1;
    else if (strcmp(what, "short") == 0) spoilt_lines = -1;
    else if (strcmp(what, "long") == 0) spoilt_lines = 1;
    else give_up("not a way to spoil: %s", what);
}

static void speak_tls(const char *chain, const char *key) {
#ifdef WITH_TLS
    tls_context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_num_tickets(tls_context, 0); /* each handshake is to be a whole one */
    if (SSL_CTX_use_certificate_chain_file(tls_context, chain) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1)
        give_up("cannot use the certificate %s with the key %s", chain, key);
#else
    give_up("built without TLS: cannot use %s and %s", chain, key);
#endif
}

static int listen_on(unsigned port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in bound = *loopback(port);
    socklen_t size = sizeof bound;
    if (bind(listener, (struct sockaddr *)&bound, size) < 0 || listen(listener, 4096) < 0)
        give_up("cannot listen on 127.0.0.1:%u: %s", port, strerror(errno));
    getsockname(listener, (struct sockaddr *)&bound, &size);
    printf("port %u\n", ntohs(bound.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"maildrop", 1, NULL, 'm'}, {"port", 1, NULL, 'p'},
                                            {"chain", 1, NULL, 'c'},    {"key", 1, NULL, 'k'},
                                            {"spoil", 1, NULL, 's'},    {NULL, 0, NULL, 0}};
    const char *maildrop = "1x4096", *chain = NULL, *key = NULL, *spoilt = NULL;
    unsigned port = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (option) {
        case 'm': maildrop = optarg; break;
        case 'p': port = (unsigned)atoi(optarg); break;
        case 'c': chain = optarg; break;
        case 'k': key = optarg; break;
        case 's': spoilt = optarg; break;
        default: return 2;
        }
    lay_maildrop(maildrop);
    if (spoilt != NULL) spoil(spoilt);
    if (chain != NULL && key != NULL) speak_tls(chain, key);
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    int listener = listen_on(port);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poll_fd, events, 256, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) accept_all(listener);
            else serve(events[i].data.ptr);
        }
    }
}
