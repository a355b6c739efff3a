/* A POP3 client for benchmarks that compares every byte it gets with what it has to be.
 *
 *   load MODE --port N --maildrop 200x4096,... [--connections N] [--seconds S | --rounds N] ...
 *
 *   bulk    log in; RETR of --messages FIRST-LAST, one at a time; begin again
 *   pipe    the same with --window commands under way
 *   chatty  log in; NOOP, STAT, LIST 1 (or --say), --window at a time, usually 1
 *   churn   connect, USER, PASS, STAT, LIST, RETR, QUIT, the end of the stream; again
 *   hs      connect, with TLS the handshake, the greeting, QUIT, the end of the stream; again
 *   idle    log in on all connections, say "up" on the output, hold them until the input ends,
 *           then NOOP and QUIT on each
 *
 * --tls speaks TLS from the first byte, without a look at the certificate. Bulk, pipe and chatty
 * begin when all connections are logged in; --warm-up seconds of each mode are not counted.
 * --rounds ends each connection after so many operations instead of after a time.
 *
 * The result is one line of JSON. An operation is a command, in churn and hs a session; times are
 * in microseconds. Exit status: 0 no error, 1 an error (the first one is told), 2 usage.
 */
#include "shared.h"

enum { LOGINS = 64 }; /* under way at once, so that no listener's queue overflows */
enum mode { BULK, PIPE, CHATTY, CHURN, HS, IDLE, MODES };
static const char *const mode_names[] = {"bulk", "pipe", "chatty", "churn", "hs", "idle"};

struct expected { uint64_t since; uint32_t number; uint8_t verb; };

struct connection {
    struct wire wire;
    bool open, ready, quitting, left; /* left: QUIT was answered, the end has to follow */
    uint32_t waits_for;
    uint64_t since;
    size_t index, rounds, turn; /* which, how many operations, whose turn it is */
    struct expected *asked;     /* a ring: what was asked and not answered yet */
    size_t asked_at, asked_count;
    bool answering;             /* answer describes what is left of the first answer */
    struct response answer;
    char *output;
    size_t output_at, output_size, output_room;
};

static enum mode mode;
static unsigned port;
static size_t connection_count = 1, window = 1, first = 1, last = 1, rounds;
static double seconds = 2, warm_up;
static bool with_tls;
static enum verb said[8] = {NOOP, STAT, LIST_ONE};
static size_t said_count = 3, said_number = 1;

static int poll_fd;
static struct connection *connections;
static size_t open_count, ready_count;
static uint64_t begun, counted_from, ends_at, last_progress, last_done;
static bool stopping, held;

static uint64_t total_operations, total_octets, operations, octets, errors;
static char first_error[256];
static uint32_t *samples; /* durations in units of 100 ns */
static size_t sample_count, sample_room;

static void open_connection(struct connection *c);

/* ---- What is measured ---- */

static bool counts(uint64_t now) { return begun && now >= counted_from && (rounds || now < ends_at); }

static void count_operation(struct connection *c, uint64_t since, uint64_t now) {
    c->rounds++;
    total_operations++;
    if (!counts(now)) return;
    operations++;
    last_done = now;
    if (sample_count == sample_room) {
        sample_room = sample_room ? 2 * sample_room : 1 << 16;
        samples = allocate(samples, sample_room * sizeof *samples);
    }
    uint64_t duration = (now - since) / 100;
    samples[sample_count++] = duration > UINT32_MAX ? UINT32_MAX : (uint32_t)duration;
}

static int by_size(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static double share(double part) {
    if (sample_count == 0) return 0;
    size_t place = (size_t)(part * (double)(sample_count - 1) + 0.5);
    return samples[place] / 10.0;
}

static void report(void) {
    uint64_t to = rounds || mode == IDLE ? last_done : ends_at;
    double time = to > counted_from ? (double)(to - counted_from) / 1e9 : 0;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    qsort(samples, sample_count, sizeof *samples, by_size);
    printf("{\"mode\": \"%s\", \"seconds\": %.6f, \"operations\": %lu, \"octets\": %lu, "
           "\"operations_per_second\": %.3f, \"megabytes_per_second\": %.3f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, "
           "\"total_operations\": %lu, \"total_octets\": %lu, \"client_cpu_seconds\": %.3f, "
           "\"errors\": %lu, \"first_error\": \"%s\"}\n",
           mode_names[mode], time, operations, octets, time > 0 ? (double)operations / time : 0,
           time > 0 ? (double)octets / time / 1e6 : 0, share(0.5), share(0.99), share(1),
           total_operations, total_octets, cpu, errors, first_error);
}

/* ---- Connections ---- */

static void close_connection(struct connection *c) {
    if (!c->open) return;
    wire_close(&c->wire);
    c->open = false;
    open_count--;
}

__attribute__((format(printf, 2, 3))) static void fail(struct connection *c, const char *format, ...) {
    if (errors++ == 0) {
        va_list values;
        va_start(values, format);
        vsnprintf(first_error, sizeof first_error, format, values);
        va_end(values);
        for (char *at = first_error; *at; at++)
            if (*at == '"' || *at == '\\' || *at < ' ' || *at > '~') *at = '?';
    }
    close_connection(c);
}

static void ask(struct connection *c, enum verb verb, size_t number) {
    if (c->output_room - c->output_size < 64) {
        c->output_room = 2 * c->output_room + 64;
        c->output = allocate(c->output, c->output_room);
    }
    char *to = c->output + c->output_size;
    int used = 0;
    switch (verb) {
    case USER: used = sprintf(to, "USER bench\r\n"); break;
    case PASS: used = sprintf(to, "PASS " PASSWORD "\r\n"); break;
    case NOOP: used = sprintf(to, "NOOP\r\n"); break;
    case STAT: used = sprintf(to, "STAT\r\n"); break;
    case LIST: used = sprintf(to, "LIST\r\n"); break;
    case LIST_ONE: used = sprintf(to, "LIST %zu\r\n", number); break;
    case UIDL: used = sprintf(to, "UIDL\r\n"); break;
    case RETR: used = sprintf(to, "RETR %zu\r\n", number); break;
    case QUIT: used = sprintf(to, "QUIT\r\n"), c->quitting = true; break;
    default: break; /* the greeting comes by itself */
    }
    c->output_size += (size_t)used;
    size_t place = (c->asked_at + c->asked_count++) % (window + 1);
    c->asked[place] = (struct expected){nanoseconds(), (uint32_t)number, (uint8_t)verb};
}

static size_t next_message(struct connection *c) {
    return first + (c->index * 7 + c->turn++) % (last - first + 1);
}

/* Keep as many operations under way as were asked for, and leave when it is time. */
static void go_on_asking(struct connection *c) {
    while (!stopping && c->asked_count < window && !(rounds && c->rounds + c->asked_count >= rounds)) {
        if (mode == CHATTY) ask(c, said[c->turn++ % said_count], said_number);
        else ask(c, RETR, next_message(c));
    }
    if (c->asked_count == 0 && !c->quitting) ask(c, QUIT, 0);
}

static void begin(uint64_t now) {
    begun = now;
    counted_from = now + (uint64_t)(warm_up * 1e9);
    ends_at = counted_from + (uint64_t)(seconds * 1e9);
}

static void flush(struct connection *c);

static void logged_in(struct connection *c) {
    c->ready = true;
    if (++ready_count < connection_count) return;
    uint64_t now = nanoseconds();
    if (mode == IDLE) {
        held = true;
        printf("up %.6f\n", (double)(now - begun) / 1e9);
        fflush(stdout);
        return;
    }
    begin(now);
    for (size_t i = 0; i < connection_count; i++) {
        go_on_asking(&connections[i]);
        if (&connections[i] != c) flush(&connections[i]);
    }
}

/* An answer came whole: what now? */
static void answered(struct connection *c, struct expected *what, uint64_t now) {
    switch (what->verb) {
    case GREETING: return mode == HS ? ask(c, QUIT, 0) : ask(c, USER, 0);
    case USER: return ask(c, PASS, 0);
    case PASS: return mode == CHURN ? ask(c, STAT, 0) : logged_in(c);
    case QUIT: c->left = true; return;
    default: break;
    }
    if (mode == CHURN) {
        if (what->verb == STAT) ask(c, LIST, 0);
        else if (what->verb == LIST) ask(c, RETR, next_message(c));
        else ask(c, QUIT, 0);
        return;
    }
    count_operation(c, what->since, now);
    go_on_asking(c);
}

/* The stream ended. */
static void ended(struct connection *c, uint64_t now) {
    if (!c->left) return fail(c, "the stream ended with %zu answers owed", c->asked_count);
    close_connection(c);
    if (mode != CHURN && mode != HS) return;
    count_operation(c, c->since, now);
    if (!stopping && !(rounds && c->rounds >= rounds)) open_connection(c);
}

static void compare(struct connection *c, const char *got, size_t size) {
    uint64_t now = nanoseconds();
    last_progress = now;
    while (size != 0 && c->open) {
        struct expected *what = &c->asked[c->asked_at];
        if (c->asked_count == 0) return fail(c, "nobody asked for: %.40s", got);
        if (!c->answering) response(&c->answer, what->verb, what->number);
        c->answering = true;
        size_t count;
        const char *wanted = next_octets(&c->answer, &count);
        count = smaller(count, size);
        if (memcmp(got, wanted, count) != 0) {
            static const char *const words[VERBS] = {"the greeting", "USER",   "PASS", "NOOP", "STAT",
                                                     "LIST",         "LIST n", "UIDL", "RETR", "QUIT"};
            size_t same = 0;
            while (got[same] == wanted[same]) same++;
            return fail(c, "the answer to %s %u differs, %zu octets before its end: %.*s",
                        words[what->verb], what->number, octets_left(&c->answer) - same,
                        (int)smaller(40, size - same), got + same);
        }
        if (what->verb == RETR) {
            total_octets += count;
            if (counts(now)) octets += count;
        }
        go_on(&c->answer, count);
        got += count, size -= count;
        if (octets_left(&c->answer) != 0) continue;
        struct expected done = *what;
        c->answering = false;
        c->asked_at = (c->asked_at + 1) % (window + 1);
        c->asked_count--;
        answered(c, &done, now);
    }
}

static void wait_for(struct connection *c, bool room) {
    uint32_t events = room && !waits_to_read(&c->wire) ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (c->waits_for == events) return;
    c->waits_for = events;
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->wire.fd, &event);
}

static void flush(struct connection *c) {
    while (c->open && c->output_at < c->output_size) {
        ssize_t sent =
            wire_write(&c->wire, c->output + c->output_at, c->output_size - c->output_at);
        if (sent < 0 && errno == EAGAIN) return wait_for(c, true);
        if (sent < 0) return fail(c, "cannot send: %s", strerror(errno));
        c->output_at += (size_t)sent;
    }
    c->output_at = c->output_size = 0;
    if (c->open) wait_for(c, false);
}

static void attend(struct connection *c) {
    static char input[1 << 18];
    for (bool more = true; more && c->open;) {
        ssize_t got = wire_read(&c->wire, input, sizeof input);
        if (got < 0 && errno == EAGAIN) break;
        if (got < 0) return fail(c, "cannot receive: %s", strerror(errno));
        if (got == 0) return ended(c, nanoseconds());
        compare(c, input, (size_t)got);
#ifdef WITH_TLS
        if (c->wire.tls != NULL) continue;
#endif
        more = (size_t)got == sizeof input;
    }
    flush(c);
}

static void open_connection(struct connection *c) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) give_up("no socket: %s", strerror(errno));
    c->wire = wire_of(fd);
#ifdef WITH_TLS
    if (c->wire.tls != NULL) SSL_set_connect_state(c->wire.tls);
#endif
    c->open = true;
    c->ready = c->quitting = c->left = c->answering = false;
    c->asked_count = c->output_at = c->output_size = 0;
    c->since = nanoseconds();
    open_count++;
    const struct sockaddr *to = (const struct sockaddr *)loopback(port);
    if (connect(fd, to, sizeof(struct sockaddr_in)) < 0 && errno != EINPROGRESS)
        return fail(c, "cannot connect: %s", strerror(errno));
    c->waits_for = EPOLLIN | (with_tls ? EPOLLOUT : 0); /* with TLS, the client speaks first */
    struct epoll_event event = {.events = c->waits_for, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
    ask(c, GREETING, 0);
}

/* ---- The course of a run ---- */

static void let_go(void) {
    stopping = true;
    held = false;
    last_progress = nanoseconds();
    for (size_t i = 0; i < connection_count; i++) {
        if (!connections[i].open) continue;
        ask(&connections[i], NOOP, 0);
        flush(&connections[i]);
    }
}

static void run(void) {
    struct epoll_event events[512];
    static int input; /* its address tells the events of the standard input */
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &input};
    if (mode == IDLE) epoll_ctl(poll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    size_t opened = 0;
    begin(nanoseconds());
    bool with_sessions = mode == CHURN || mode == HS; /* whose logins are what is measured */
    if (!with_sessions && mode != IDLE) begun = 0;
    last_progress = nanoseconds();
    while (errors == 0 && (opened < connection_count || open_count != 0)) {
        while (opened < connection_count && (with_sessions || opened < ready_count + LOGINS))
            open_connection(&connections[opened++]);
        int count = epoll_wait(poll_fd, events, 512, 100);
        for (int i = 0; i < count; i++) {
            char gone;
            if (events[i].data.ptr != &input) attend(events[i].data.ptr);
            else if (read(STDIN_FILENO, &gone, 1) <= 0) {
                epoll_ctl(poll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
                let_go();
            }
        }
        uint64_t now = nanoseconds();
        if (begun && !rounds && mode != IDLE && now >= ends_at) stopping = true;
        if (!held && now - last_progress > 30000000000u) {
            errors++;
            snprintf(first_error, sizeof first_error, "nothing came for 30 s; %zu of %zu logged in",
                     ready_count, connection_count);
        }
    }
}

static void choose_words(const char *words) {
    said_count = 0;
    for (const char *at = words; *at; at++) {
        if (said_count == 8) give_up("too many commands: %s", words);
        switch (*at) {
        case 'n': said[said_count++] = NOOP; break;
        case 's': said[said_count++] = STAT; break;
        case '1': said[said_count++] = LIST_ONE; break;
        case 'l': said[said_count++] = LIST; break;
        case 'u': said[said_count++] = UIDL; break;
        default: give_up("not a command: %c; n NOOP, s STAT, 1 LIST 1, l LIST, u UIDL", *at);
        }
    }
}

static void read_options(int argc, char **argv) {
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},     {"maildrop", 1, NULL, 'm'}, {"connections", 1, NULL, 'c'},
        {"seconds", 1, NULL, 's'},  {"rounds", 1, NULL, 'r'},   {"messages", 1, NULL, 'f'},
        {"window", 1, NULL, 'w'},   {"warm-up", 1, NULL, 'u'},  {"say", 1, NULL, 'y'},
        {"tls", 0, NULL, 't'},      {NULL, 0, NULL, 0}};
    const char *maildrop = "1x4096";
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (option) {
        case 'p': port = (unsigned)atoi(optarg); break;
        case 'm': maildrop = optarg; break;
        case 'c': connection_count = strtoul(optarg, NULL, 10); break;
        case 's': seconds = atof(optarg); break;
        case 'r': rounds = strtoul(optarg, NULL, 10); break;
        case 'w': window = strtoul(optarg, NULL, 10); break;
        case 'u': warm_up = atof(optarg); break;
        case 'y': choose_words(optarg); break;
        case 't': with_tls = true; break;
        case 'f':
            if (sscanf(optarg, "%zu-%zu", &first, &last) == 1) last = first;
            break;
        default: exit(2);
        }
    if (optind + 1 != argc) give_up("one mode is needed: bulk, pipe, chatty, churn, hs or idle");
    while (mode < MODES && strcmp(argv[optind], mode_names[mode]) != 0) mode++;
    if (mode == MODES) give_up("not a mode: %s", argv[optind]);
    lay_maildrop(maildrop);
    if (port == 0 || connection_count == 0 || window == 0 || first < 1 || last < first ||
        last > message_count)
        give_up("--port, --connections, --window or --messages is out of range");
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
#ifdef WITH_TLS
    if (with_tls) {
        tls_context = SSL_CTX_new(TLS_client_method());
        /* Not every proxy says close_notify; whether answers are owed is looked at anyway. */
        SSL_CTX_set_options(tls_context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    }
#else
    if (with_tls) give_up("built without TLS");
#endif
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    connections = allocate(NULL, connection_count * sizeof *connections);
    memset(connections, 0, connection_count * sizeof *connections);
    for (size_t i = 0; i < connection_count; i++) {
        connections[i].index = i;
        connections[i].asked = allocate(NULL, (window + 1) * sizeof *connections[i].asked);
    }
    run();
    report();
    return errors != 0;
}
