#include "cli/supervisor.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include <nlohmann/json.hpp>

#include "cli/child_process.h"
#include "common/backoff.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "common/process_lock.h"
#include "coordinator/dashboard/views.h"

namespace vmferry::cli {
namespace {

using embedded::Home;
using std::chrono::milliseconds;

constexpr milliseconds kStartLimit{20'000};
constexpr milliseconds kStopPatience{10'000};
constexpr milliseconds kPoll{100};
constexpr std::chrono::seconds kHealthy{60};  // after that long a death counts as the first one

Result<std::string> sibling_program(const std::string& name) {
  std::error_code failure;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failure);
  if (failure)
    return make_error(ErrorKind::Internal, "cannot find our own program: {}", failure.message());
  return (self.parent_path() / name).string();
}

Result<std::string> ask(const Home& home, const std::string& path, std::stop_token stop) {
  const auto client =
      TRY(HttpClient::make({.trust = {}, .unix_socket = home.socket(), .resolve = {}}));
  HttpRequest request;
  request.url = "http://localhost" + path;
  request.total_timeout = milliseconds(2000);
  const HttpResponse response = TRY(client->send(request, stop));
  if (response.status != 200) {
    return make_error(ErrorKind::Unavailable, "coordinator answers {}", response.status);
  }
  return response.body;
}

// The end of a log, for telling why a child did not start.
std::string tail_of(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return "";
  constexpr std::size_t kTail = 2000;
  return text->size() <= kTail ? *text : text->substr(text->size() - kTail);
}

// Whether `pid` is a process of this home: the number may have been given to another one since.
bool is_ours(const Home& home, pid_t pid) {
  std::error_code failure;
  const auto program = std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid), failure);
  if (failure || !program.filename().string().starts_with("vmferry-")) return false;
  const auto arguments = read_file(fmt::format("/proc/{}/cmdline", pid));
  return arguments && arguments->find(home.path()) != std::string::npos;
}

// Children of a supervisor that was killed are on their way out: waits for them, then insists.
void end_orphans(const Home& home) {
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(home.run(), failure)) {
    if (entry.path().extension() != ".pid") continue;
    const auto text = read_file(entry.path().string(), 64);
    const pid_t pid = text ? std::atoi(text->c_str()) : 0;
    if (pid <= 1 || !is_ours(home, pid)) continue;
    ::kill(pid, SIGTERM);
    const SteadyTime deadline = std::chrono::steady_clock::now() + kStopPatience;
    while (is_ours(home, pid)) {
      if (std::chrono::steady_clock::now() > deadline) ::kill(pid, SIGKILL);
      std::this_thread::sleep_for(kPoll);
    }
  }
}

struct Child {
  std::string name;
  std::vector<std::string> argv;
  std::optional<ChildProcess> process;
  SteadyTime started{};
  SteadyTime due{};
  int deaths = 0;
};

}  // namespace

struct Supervisor::Impl {
  Home home;
  UpOptions options;
  Logger log;
  UniqueFd lock;
  std::vector<Child> children;
  std::jthread thread;

  Result<void> launch(Child& child) const;
  Result<std::vector<std::string>> coordinator_command() const;
  Result<std::vector<std::string>> agent_command(const std::string& name) const;
  Result<void> wait_for_coordinator(Child& child, std::stop_token stop) const;
  Result<void> wait_for_agents(std::stop_token stop) const;
  Result<void> begin(std::stop_token stop);
  void watch_over(std::stop_token stop);
  void end_all();
};

Result<void> Supervisor::Impl::launch(Child& child) const {
  child.process = TRY(ChildProcess::spawn(child.argv, home.log() + "/" + child.name + ".log"));
  child.started = std::chrono::steady_clock::now();
  return write_file_atomically(home.run() + "/" + child.name + ".pid",
                               fmt::format("{}\n", child.process->pid()));
}

Result<std::vector<std::string>> Supervisor::Impl::coordinator_command() const {
  std::vector<std::string> argv{TRY(sibling_program("vmferry-coordinator")), "--home", home.path()};
  if (options.limit_bytes_per_second != 0) {
    argv.insert(argv.end(), {"--limit", fmt::format("{}", options.limit_bytes_per_second)});
  }
  if (options.vddk) argv.emplace_back("--vddk");
  return argv;
}

Result<std::vector<std::string>> Supervisor::Impl::agent_command(const std::string& name) const {
  const embedded::CoordinatorAddress address = TRY(embedded::read_address(home));
  std::vector<std::string> argv{TRY(sibling_program("vmferry-agent")),
                                "--coordinator",
                                address.address,
                                "--server-key",
                                address.public_key,
                                "--key-file",
                                home.agent_keys() + "/" + name,
                                "--id",
                                name,
                                "--node",
                                name,
                                "--state",
                                home.agents() + "/" + name,
                                "--slots",
                                fmt::format("{}", options.slots),
                                "--nbdkit",
                                options.nbdkit};
  if (options.nbdkit_silence_seconds > 0) {
    argv.insert(argv.end(),
                {"--nbdkit-silence", fmt::format("{}", options.nbdkit_silence_seconds)});
  }
  if (!options.vddk_libdir.empty()) argv.insert(argv.end(), {"--vddk-libdir", options.vddk_libdir});
  for (const std::string& word : options.vddk_stand_in) {
    argv.insert(argv.end(), {"--vddk-stand-in", word});
  }
  return argv;
}

Result<void> Supervisor::Impl::wait_for_coordinator(Child& child, std::stop_token stop) const {
  const SystemClock clock;
  const SteadyTime deadline = clock.steady() + kStartLimit;
  while (true) {
    if (ask(home, "/healthz", stop)) return {};
    if (const auto how = child.process->ended()) {
      return make_error(ErrorKind::Unavailable,
                        "the coordinator ended at once ({}); its log '{}' ends with:\n{}", *how,
                        home.log() + "/coordinator.log", tail_of(home.log() + "/coordinator.log"));
    }
    if (clock.steady() > deadline) {
      return make_error(ErrorKind::DeadlineExceeded, "the coordinator does not answer; see '{}'",
                        home.log() + "/coordinator.log");
    }
    if (!clock.sleep(kPoll, stop)) return make_error(ErrorKind::Canceled, "start was interrupted");
  }
}

Result<void> Supervisor::Impl::wait_for_agents(std::stop_token stop) const {
  const SystemClock clock;
  const SteadyTime deadline = clock.steady() + kStartLimit;
  while (true) {
    int connected = 0;
    if (const auto body = ask(home, "/v1/agents", stop)) {
      const auto views = dashboard::agents_from_json(nlohmann::json::parse(*body, nullptr, false));
      if (views) connected = static_cast<int>(std::ranges::count_if(*views, &AgentView::connected));
    }
    if (connected >= options.agents) return {};
    if (clock.steady() > deadline) {
      return make_error(ErrorKind::DeadlineExceeded,
                        "only {} of {} agents reached the coordinator; see '{}/agent-*.log'",
                        connected, options.agents, home.log());
    }
    if (!clock.sleep(kPoll, stop)) return make_error(ErrorKind::Canceled, "start was interrupted");
  }
}

// On the thread that lives as long as the children: they are told when it dies.
Result<void> Supervisor::Impl::begin(std::stop_token stop) {
  children.push_back({.name = "coordinator", .argv = TRY(coordinator_command()), .process = {}});
  TRY(launch(children.back()));
  TRY(wait_for_coordinator(children.back(), stop));
  for (int i = 1; i <= options.agents; ++i) {
    const std::string name = fmt::format("agent-{}", i);
    children.push_back({.name = name, .argv = TRY(agent_command(name)), .process = {}});
    TRY(launch(children.back()));
  }
  return wait_for_agents(stop);
}

void Supervisor::Impl::watch_over(std::stop_token stop) {
  const SystemClock clock;
  const Backoff backoff{.first = std::chrono::seconds(1), .cap = std::chrono::seconds(30)};
  while (clock.sleep(kPoll, stop)) {
    for (Child& child : children) {
      const SteadyTime now = clock.steady();
      if (child.process) {
        const auto how = child.process->ended();
        if (!how) continue;
        child.deaths = now - child.started > kHealthy ? 1 : child.deaths + 1;
        child.due = now + backoff.delay(child.deaths);
        child.process.reset();
        log.warn("process ended, starting it again", {{"process", child.name}, {"how", *how}});
      }
      if (now < child.due) continue;
      if (const auto again = launch(child); !again) {
        log.error("cannot start process", again.error(), {{"process", child.name}});
        child.due = now + backoff.cap;
      }
    }
  }
}

// Agents first: they save their journals while somebody listens.
void Supervisor::Impl::end_all() {
  for (Child& child : children) {
    if (child.process && child.name != "coordinator") child.process->signal(SIGTERM);
  }
  for (auto child = children.rbegin(); child != children.rend(); ++child) {
    if (child->process) child->process->stop(kStopPatience);
    ::unlink((home.run() + "/" + child->name + ".pid").c_str());
  }
}

Supervisor::Supervisor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Supervisor::~Supervisor() {
  impl_->thread.request_stop();
  impl_->thread.join();
}

Result<std::unique_ptr<Supervisor>> Supervisor::start(const Home& home, const UpOptions& options,
                                                      const Logger& log, std::stop_token stop) {
  TRY(home.prepare());
  auto impl = std::unique_ptr<Impl>(new Impl{home, options, log, {}, {}, {}});
  auto lock = lock_process_file(home.run() + "/supervisor.lock");
  if (!lock) {
    return std::move(lock).error().with_context(
        fmt::format("'vmferry up' runs already for home '{}'", home.path()));
  }
  impl->lock = *std::move(lock);
  end_orphans(home);
  // Before the coordinator starts: it lets in exactly these agents.
  for (int i = 1; i <= options.agents; ++i) {
    TRY(CurveKeys::load_or_create(fmt::format("{}/agent-{}", home.agent_keys(), i)));
  }

  std::promise<Result<void>> begun;
  auto outcome = begun.get_future();
  Impl* const raw = impl.get();
  impl->thread =
      std::jthread([raw, stop, begun = std::move(begun)](std::stop_token own_stop) mutable {
        auto result = raw->begin(stop);
        const bool good = result.ok();
        begun.set_value(std::move(result));
        if (good) raw->watch_over(own_stop);
        raw->end_all();
      });
  auto result = outcome.get();
  if (!result) {
    impl->thread.join();
    return std::move(result).error();
  }
  return std::unique_ptr<Supervisor>(new Supervisor(std::move(impl)));
}

bool is_up(const Home& home) { return ask(home, "/healthz", {}).ok(); }

}  // namespace vmferry::cli
