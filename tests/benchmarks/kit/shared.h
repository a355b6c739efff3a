/* What the server and the load have in common: the maildrop, and every byte of every response.
 *
 * The server sends what response() describes, and the load compares what arrives with the same
 * description, byte by byte. So a byte that is lost, doubled, changed or out of place is found
 * wherever it is, in status lines and listings too, and no message is held in memory.
 *
 * The maildrop is said by a list as "200x4096,2x1048576": 200 messages of about 4 KiB, then two of
 * about 1 MiB. A message is a header and lines of 78 octets, so that its size is not rounded by
 * anybody's buffer; its lines come out of one endless text, each message beginning elsewhere.
 */
#ifndef SHARED_H
#define SHARED_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

#define LINE 78     /* octets of a line of a message, CRLF included */
#define LINES 13441 /* of the endless text before it begins anew; a prime, so no buffer fits it */
#define PASSWORD "a-Secret-of-the-Benchmark"

enum verb { GREETING, USER, PASS, NOOP, STAT, LIST, LIST_ONE, UIDL, RETR, QUIT, VERBS };

__attribute__((format(printf, 1, 2), noreturn)) static void give_up(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(2);
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *allocate(void *old, size_t octets) {
    void *fresh = realloc(old, octets);
    if (fresh == NULL) give_up("no memory for %zu octets", octets);
    return fresh;
}

static size_t smaller(size_t one, size_t other) { return one < other ? one : other; }

/* ---- The maildrop ---- */

static const char HEADER[] =
    "Return-Path: <wren@example.org>\r\n"
    "Date: Tue, 3 Nov 2026 10:15:00 +0000\r\n"
    "From: Wren Harper <wren@example.org>\r\n"
    "To: Bench <bench@example.org>\r\n"
    "Subject: Minutes, with the drawings\r\n"
    "Message-ID: <minutes.20261103@example.org>\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n";

static char endless[LINES * LINE];
static struct group { size_t count, lines; } groups[16];
static size_t group_count, message_count, maildrop_octets;
static struct listing { char *text; size_t size; } list_text, uidl_text;

static size_t lines_of(size_t number) {
    size_t before = 0;
    for (size_t i = 0; i < group_count; i++)
        if (number <= (before += groups[i].count)) return groups[i].lines;
    give_up("there is no message %zu", number);
}

static size_t octets_of(size_t number) { return sizeof HEADER - 1 + lines_of(number) * LINE; }

static void write_endless_text(void) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint64_t chance = 88172645463325252u;
    for (size_t line = 0; line < LINES; line++) {
        char *to = endless + line * LINE;
        for (size_t i = 0; i < LINE - 2; i++) {
            chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
            to[i] = letters[chance >> 58];
        }
        if (line % 53 == 0) to[0] = to[1] = '.'; /* a dot of the message, stuffed */
        memcpy(to + LINE - 2, "\r\n", 2);
    }
}

static void lay_maildrop(const char *said) {
    write_endless_text();
    for (const char *at = said; *at != 0;) {
        size_t count, octets;
        int used = 0;
        if (sscanf(at, "%zux%zu%n", &count, &octets, &used) != 2 || group_count == 16)
            give_up("not a maildrop: %s; expected is COUNTxOCTETS,...", said);
        size_t lines = octets > sizeof HEADER + LINE ? (octets - sizeof HEADER) / LINE : 1;
        groups[group_count++] = (struct group){count, lines};
        message_count += count;
        at += used;
        if (*at == ',') at++;
    }
    list_text.text = allocate(NULL, message_count * 32 + 1);
    uidl_text.text = allocate(NULL, message_count * 32 + 1);
    for (size_t number = 1; number <= message_count; number++) {
        size_t octets = octets_of(number);
        maildrop_octets += octets;
        list_text.size +=
            (size_t)sprintf(list_text.text + list_text.size, "%zu %zu\r\n", number, octets);
        uidl_text.size +=
            (size_t)sprintf(uidl_text.text + uidl_text.size, "%zu uid-%08zx\r\n", number, number);
    }
}

/* ---- Responses ---- */

/* A response that is being sent or expected: its status line, then a listing or a header, then
 * lines of a message, then the end. What is left of each part is counted down. */
struct response {
    char status[64];
    const char *head;
    size_t status_at, status_left, head_left, body_at, body_left, end_left;
};

static void response(struct response *r, enum verb verb, size_t number) {
    char *to = r->status;
    int used = 0;
    r->status_at = r->head_left = r->body_left = r->end_left = 0;
    switch (verb) {
    case GREETING: used = sprintf(to, "+OK ready\r\n"); break;
    case STAT: used = sprintf(to, "+OK %zu %zu\r\n", message_count, maildrop_octets); break;
    case LIST_ONE: used = sprintf(to, "+OK %zu %zu\r\n", number, octets_of(number)); break;
    case RETR:
        used = sprintf(to, "+OK %zu octets\r\n", octets_of(number));
        r->head = HEADER, r->head_left = sizeof HEADER - 1;
        r->body_at = number * 37 % LINES * LINE, r->body_left = lines_of(number) * LINE;
        break;
    case LIST:
    case UIDL:
        used = sprintf(to, "+OK %zu messages\r\n", message_count);
        r->head = verb == LIST ? list_text.text : uidl_text.text;
        r->head_left = verb == LIST ? list_text.size : uidl_text.size;
        break;
    default: used = sprintf(to, "+OK\r\n");
    }
    if (verb == RETR || verb == LIST || verb == UIDL) r->end_left = 3;
    r->status_left = (size_t)used;
}

/* The octets that come next, as far as they lie together; none at the end of the response. */
static const char *next_octets(const struct response *r, size_t *count) {
    if ((*count = r->status_left) != 0) return r->status + r->status_at;
    if ((*count = r->head_left) != 0) return r->head;
    if ((*count = smaller(r->body_left, sizeof endless - r->body_at)) != 0)
        return endless + r->body_at;
    *count = r->end_left;
    return &".\r\n"[3 - r->end_left];
}

/* Go on by so many octets, no more than next_octets() gave. */
static void go_on(struct response *r, size_t count) {
    if (r->status_left) {
        r->status_at += count, r->status_left -= count;
    } else if (r->head_left) {
        r->head += count, r->head_left -= count;
    } else if (r->body_left) {
        r->body_at = (r->body_at + count) % sizeof endless, r->body_left -= count;
    } else {
        r->end_left -= count;
    }
}

static size_t octets_left(const struct response *r) {
    return r->status_left + r->head_left + r->body_left + r->end_left;
}

/* ---- The wire: a socket, with TLS or without ---- */

#ifdef WITH_TLS
static SSL_CTX *tls_context;
#endif

struct wire {
    int fd;
#ifdef WITH_TLS
    SSL *tls;
#endif
};

static const struct sockaddr_in *loopback(unsigned port) {
    static struct sockaddr_in address;
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return &address;
}

/* Answer like read(2): -1 with EAGAIN where the wire has nothing yet. */
#ifdef WITH_TLS
static ssize_t told(struct wire *wire, int got) {
    if (got > 0) return got;
    int error = SSL_get_error(wire->tls, got);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) errno = EAGAIN;
    else if (error != SSL_ERROR_SYSCALL || errno == 0) errno = EPROTO;
    ERR_clear_error();
    return -1;
}
#endif

static ssize_t wire_read(struct wire *wire, char *to, size_t size) {
#ifdef WITH_TLS
    if (wire->tls != NULL) return told(wire, SSL_read(wire->tls, to, (int)size));
#endif
    return recv(wire->fd, to, size, 0);
}

static ssize_t wire_write(struct wire *wire, const char *from, size_t size) {
#ifdef WITH_TLS
    if (wire->tls != NULL)
        return told(wire, SSL_write(wire->tls, from, (int)smaller(size, 1 << 20)));
#endif
    return send(wire->fd, from, size, MSG_NOSIGNAL);
}

/* Whether a write has to wait for something to read, as in a handshake. */
static bool waits_to_read(const struct wire *wire) {
#ifdef WITH_TLS
    return wire->tls != NULL && SSL_want_read(wire->tls);
#else
    return wire == NULL;
#endif
}

/* Make a wire of a connected socket, or one that is connecting. */
static struct wire wire_of(int fd) {
    struct wire wire = {.fd = fd};
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef WITH_TLS
    if (tls_context != NULL) {
        wire.tls = SSL_new(tls_context);
        SSL_set_fd(wire.tls, fd);
        SSL_set_mode(wire.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
#endif
    return wire;
}

static void wire_close(struct wire *wire) {
#ifdef WITH_TLS
    if (wire->tls != NULL) {
        SSL_shutdown(wire->tls); /* says close_notify; nobody waits for the other one's */
        SSL_free(wire->tls);
        ERR_clear_error();
    }
#endif
    close(wire->fd);
}

static void allow_many_files(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

#endif
