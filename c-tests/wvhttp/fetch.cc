// Fetches pages through WvStreams' WvHttpPool, which keeps a connection per server and pipelines its
// requests: the client in whose company the missing lingering close was found.
//
//   wvhttp-fetch ADDRESS PAGES LENGTH
//
// Fetches http://ADDRESS/page-I/LENGTH for I below PAGES. Prints one line for each page that did not
// arrive as it should, then "complete N of PAGES". Exits 0 if it could ask at all; how many pages
// arrived is a result, not an error.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "wvhttppool.h"
#include "wvistreamlist.h"
#include "wvlogrcv.h"

namespace {

// No progress for so long means that nothing more will come.
const int silence_ms = 20000;

struct Page {
    std::string name;
    std::unique_ptr<WvBufUrlStream> stream;
    std::string body;

    bool complete(size_t length) const
    {
        const std::string start = name + " ";
        return stream->status == 200 && body.size() == length
            && body.compare(0, start.size(), start) == 0;
    }
};

// Takes what has arrived; says whether there was anything.
bool take(Page &page)
{
    char some[65536];
    bool any = false;
    while (size_t got = page.stream->read(some, sizeof some)) {
        page.body.append(some, got);
        any = true;
    }
    return any;
}

bool over(const Page &page)
{
    return !page.stream->isok();
}

void fetch(WvHttpPool &pool, std::vector<Page> &pages)
{
    WvIStreamList list;
    list.append(&pool, false, "pool");
    size_t left = pages.size();
    int quiet_ms = 0;
    while (left > 0 && quiet_ms < silence_ms) {
        const int wait_ms = 100;
        const bool active = list.select(wait_ms);
        if (active)
            list.callback();
        quiet_ms = active ? 0 : quiet_ms + wait_ms;
        left = 0;
        for (Page &page : pages) {
            if (take(page))
                quiet_ms = 0;
            left += !over(page);
        }
    }
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s ADDRESS PAGES LENGTH\n", argv[0]);
        return 2;
    }
    const std::string address = argv[1];
    const size_t count = strtoul(argv[2], nullptr, 10);
    const size_t length = strtoul(argv[3], nullptr, 10);

    // A reset is to be an error of the connection, not the end of us.
    signal(SIGPIPE, SIG_IGN);
    // Without a receiver of ours, WvLog tells stderr about every kilobyte.
    WvLogConsole log(2, WvLog::Error);
    WvHttpPool pool;
    std::vector<Page> pages(count);
    for (size_t i = 0; i < count; ++i) {
        Page &page = pages[i];
        page.name = "page-" + std::to_string(i);
        const std::string url = "http://" + address + "/" + page.name + "/" + std::to_string(length);
        page.stream.reset(pool.addurl(url.c_str()));
    }
    fetch(pool, pages);

    size_t complete = 0;
    for (const Page &page : pages) {
        if (page.complete(length))
            ++complete;
        else
            printf("%s: status %d, %zu bytes, %s\n", page.name.c_str(), page.stream->status,
                   page.body.size(), page.stream->geterr() ? page.stream->errstr().cstr() : "no error");
    }
    printf("complete %zu of %zu\n", complete, count);
    return 0;
}
