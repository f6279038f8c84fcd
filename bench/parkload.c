/* Runners that wait, as many as wanted, in one thread: each a connection with one request for a
 * build under way.
 *
 *   parkload PORT FILE NUMBER
 *
 * FILE has a line for each: "TOKEN VALUE" (VALUE: what it sends as last_update). A command a line:
 *   ask            who has no request under way makes one, on a new connection if it has none
 *   close N        the last N that are connected hang up; "closed N"
 *   again on|off   who is answered, or cut off, asks again at once, with the value it was told last
 *   end            the end
 * What happens is told in lines: "asked N", and for each answer "answer RUNNER STATUS TIME", with
 * microseconds of the monotonic clock, STATUS 0 for a connection that ended without one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 512

typedef struct client_t {
    int fd;    /* -1: not connected */
    int waits; /* a request is under way */
    char token[64];
    char value[64];
} client_t;

static client_t *clients;
static int port, number, poller, again;

static void die(const char *what)
{
    fprintf(stderr, "parkload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long long now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void dial(client_t *client)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    int one = 1;

    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        die("socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(client->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("connect");
    if (epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event) != 0)
        die("epoll_ctl");
}

static void hang_up(client_t *client)
{
    close(client->fd);
    client->fd = -1;
    client->waits = 0;
}

static void ask(client_t *client)
{
    char body[512], request[1024];
    int length =
        snprintf(body, sizeof(body),
                 "{\"info\":{\"name\":\"gitlab-ci-multi-runner\",\"version\":\"1.11.5\","
                 "\"revision\":\"7f00c780\",\"platform\":\"linux\",\"architecture\":\"amd64\","
                 "\"executor\":\"docker\",\"features\":{\"variables\":true,\"image\":true,"
                 "\"services\":true,\"artifacts\":true,\"cache\":true}},"
                 "\"token\":\"%s\",\"last_update\":\"%s\"}",
                 client->token, client->value);

    length =
        snprintf(request, sizeof(request),
                 "POST /ci/api/v1/builds/register.json HTTP/1.1\r\nHost: localhost\r\n"
                 "User-Agent: gitlab-ci-multi-runner 1.11.5 (1-11-stable; go1.7.5; linux/amd64)"
                 "\r\nContent-Length: %d\r\nAccept: application/json\r\n"
                 "Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n%s",
                 length, body);
    if (client->fd < 0)
        dial(client);
    if (write(client->fd, request, (size_t)length) != length)
        die("write");
    client->waits = 1;
}

static void ask_all(void)
{
    for (int i = 0; i < number; i++)
        if (!clients[i].waits)
            ask(&clients[i]);
    printf("asked %d\n", number);
}

static void close_some(int wanted)
{
    int done = 0;

    for (int i = number - 1; i >= 0 && done < wanted; i--) {
        if (clients[i].fd < 0)
            continue;
        hang_up(&clients[i]);
        done++;
    }
    printf("closed %d\n", done);
}

static void learn(client_t *client, const char *answer)
{
    const char *field = strcasestr(answer, "X-GitLab-Last-Update: ");

    if (field)
        sscanf(field + 22, "%63[0-9a-f]", client->value);
}

/* Answers are small: they come at once. */
static void hear(client_t *client)
{
    char answer[8192];
    ssize_t length = read(client->fd, answer, sizeof(answer) - 1);
    int status = 0;

    if (length <= 0) {
        if (client->waits)
            printf("answer %d 0 %lld\n", (int)(client - clients), now());
        hang_up(client);
        if (again)
            ask(client);
        return;
    }
    answer[length] = '\0';
    if (sscanf(answer, "HTTP/1.1 %d", &status) != 1)
        return; /* the rest of a longer one */
    printf("answer %d %d %lld\n", (int)(client - clients), status, now());
    client->waits = 0;
    learn(client, answer);
    if (strcasestr(answer, "\nConnection: close"))
        hang_up(client);
    if (again)
        ask(client);
}

/* 0: the end. */
static int obey(void)
{
    char line[64];
    int wanted;

    if (!fgets(line, sizeof(line), stdin) || !strcmp(line, "end\n"))
        return 0;
    if (!strcmp(line, "ask\n"))
        ask_all();
    else if (sscanf(line, "close %d", &wanted) == 1)
        close_some(wanted);
    else
        again = !strcmp(line, "again on\n");
    return 1;
}

static void read_clients(const char *path)
{
    FILE *file = fopen(path, "r");

    if (!file)
        die(path);
    clients = calloc((size_t)number, sizeof(*clients));
    if (!clients)
        die("memory");
    for (int i = 0; i < number; i++) {
        clients[i].fd = -1;
        if (fscanf(file, "%63s %63s", clients[i].token, clients[i].value) != 2)
            die("too few lines");
    }
    fclose(file);
}

int main(int argc, char **argv)
{
    struct epoll_event command = {.events = EPOLLIN, .data.ptr = NULL};

    if (argc != 4)
        die("parkload PORT FILE NUMBER");
    port = atoi(argv[1]);
    number = atoi(argv[3]);
    poller = epoll_create1(EPOLL_CLOEXEC);
    read_clients(argv[2]);
    setvbuf(stdin, NULL, _IONBF, 0); /* epoll must see each line */
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &command);
    for (int going = 1; going;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poller, events, EVENTS, -1);

        for (int i = 0; i < n; i++)
            if (events[i].data.ptr)
                hear(events[i].data.ptr);
            else
                going = obey();
        fflush(stdout);
    }
    return 0;
}
