// A service of eight threads, each with an arena of its own: `forgetful` has answered requests and given
// almost all memory back; `leaking` has kept what each request allocated. It prints mallinfo2(3) and how
// many bytes of its objects are alive, and again after each line of standard input, at which it calls
// malloc_trim(0).
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <malloc.h>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

constexpr int threads = 8, requests = 2000, kept = 400;
std::atomic<std::size_t> alive{0};
std::mutex mutex;
std::condition_variable changed;
int ready = 0;
bool over = false;

struct Session {
    std::string name;
    std::vector<int> figures;
    explicit Session(int number) : name(3000, 'a'), figures(static_cast<std::size_t>(50 + number % 50), number) {}
    std::size_t bytes() const { return sizeof *this + name.size() + figures.size() * sizeof(int); }
};

void serve(bool leaking)
{
    std::map<int, std::unique_ptr<Session>> sessions;

    for (int i = 0; i < requests; i++)
        sessions.emplace(i, std::make_unique<Session>(i));
    for (auto one = sessions.begin(); one != sessions.end();) {
        if (one->first % kept == 0) {
            alive += one->second->bytes();
            ++one;
            continue;
        }
        if (leaking) {
            alive += one->second->bytes();
            static_cast<void>(one->second.release());
        }
        one = sessions.erase(one);
    }
    std::unique_lock<std::mutex> lock(mutex);
    ready++;
    changed.notify_all();
    changed.wait(lock, [] { return over; });
}

void report()
{
    struct mallinfo2 now = mallinfo2();

    std::printf("%zu %zu %zu %zu %zu %zu\n", now.uordblks, now.fordblks, now.arena, now.hblks,
                now.hblkhd, alive.load());
    std::fflush(stdout);
}

} // namespace

int main(int argc, char **argv)
{
    static char out[1 << 12];
    bool leaking = argc > 1 && !std::strcmp(argv[1], "leaking");
    std::vector<std::thread> all;
    char line[16];

    std::setvbuf(stdout, out, _IOFBF, sizeof out);
    for (int i = 0; i < threads; i++)
        all.emplace_back(serve, leaking);
    {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [] { return ready == threads; });
    }
    report();
    while (read(0, line, sizeof line) > 0) {
        malloc_trim(0);
        report();
    }
    {
        std::unique_lock<std::mutex> lock(mutex);
        over = true;
    }
    changed.notify_all();
    for (std::thread &one : all)
        one.join();
}
