#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "agent/health.h"
#include "agent/hold.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"

namespace vmferry {
namespace {

constexpr const char* kExample = R"text(Example:
  vmferry-agent --coordinator tcp://10.0.0.1:7401 --server-key "$(cat coordinator.key.pub)" \
      --key-file /var/lib/vmferry/agent.key --id agent-1 --node node-1 \
      --state /var/lib/vmferry/agent-1 --slots 4 --limit 200M
  vmferry-agent hold      in a holder pod: keeps its claims mounted until it is told to end
  vmferry-agent healthy   for probes: is the agent well that was started with this --health?
  vmferry-agent move      in a holder pod: copies into its own claims and nothing else)text";

struct Arguments {
  AgentOptions options;
  std::string key_file;
  std::string command = "agent";
  std::string limit;
  std::string pod_uid;
  bool kubelet_volumes = false;
  double drain_seconds = 0;
  double nbdkit_silence_seconds = 120;
};

void describe(CLI::App& app, Arguments& arguments) {
  AgentOptions& options = arguments.options;
  app.footer(kExample);
  app.add_option("command", arguments.command, "agent, move or hold")
      ->check(CLI::IsMember({"agent", "move"}))
      ->capture_default_str();
  app.add_option("--coordinator", options.coordinator, "Coordinator's address, tcp://host:port")
      ->envname("VMFERRY_COORDINATOR")
      ->required();
  app.add_option("--server-key", options.server_key, "Coordinator's public CURVE key (Z85)")
      ->envname("VMFERRY_SERVER_KEY");
  app.add_option(
      "--server-key-file", options.server_key_file,
      "File with that key instead, waited for until it is there; when it changes and the "
      "coordinator is silent, the agent ends, to be started again");
  app.add_option("--key-file", arguments.key_file,
                 "Own secret CURVE key (mode 0600); made with FILE.pub when absent")
      ->required();
  app.add_option("--id", options.id.value,
                 "Name of this agent, unique; on Kubernetes its node's, of a mover its pod's");
  app.add_option("--node", options.node, "Node (machine) that this agent runs on")
      ->envname("VMFERRY_NODE");
  app.add_option("--pod-uid", arguments.pod_uid, "move: uid of the pod that this runs in")
      ->envname("VMFERRY_POD_UID");
  app.add_option("--state", options.state_directory, "Directory for journals; one per agent")
      ->required();
  app.add_flag("--kubelet-volumes", arguments.kubelet_volumes,
               "Write to volumes that the kubelet has mounted for holder pods, and nowhere else");
  app.add_option("--kubelet-root", options.volumes.kubelet_root,
                 "The kubelet's directory, mounted here under the same path, HostToContainer")
      ->capture_default_str();
  app.add_option("--mover-root", options.volumes.mover_root, "move: where its claims are mounted")
      ->capture_default_str();
  app.add_option("--mover-devices", options.volumes.mover_devices,
                 "move: where its claims of mode Block are")
      ->capture_default_str();
  app.add_flag("--overcommit", options.volumes.overcommit,
               "Also write to volumes that have less free space than the disk's size");
  app.add_option("--slots", options.slots, "Disks copied at once")->capture_default_str();
  app.add_option("--limit", arguments.limit, "Bytes per second of all disks together, e.g. 200M");
  app.add_option("--token-file", options.token_file,
                 "Projected service-account token (Kubernetes); read again whenever it is shown");
  app.add_option("--drain", arguments.drain_seconds,
                 "Seconds that running jobs get to end after SIGTERM, while no new ones are taken; "
                 "what runs still is stopped at its journal")
      ->check(CLI::Range(0.0, 86'400.0));
  app.add_option("--health", options.health_file,
                 "File that tells `vmferry-agent healthy` how this agent is; best on a tmpfs");
  app.add_option("--nbdkit", options.nbdkit_program, "nbdkit program")->capture_default_str();
  app.add_option("--nbdkit-silence", arguments.nbdkit_silence_seconds,
                 "Seconds after which an nbdkit that gives no byte, or does not open its disk, is "
                 "killed and started again")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 3'600.0));
  app.add_option("--vddk-libdir", options.vddk_libdir, "Directory of VDDK, with lib64/ inside");
  app.add_option("--vddk-stand-in", options.vddk_stand_in,
                 "nbdkit plugin and arguments in VDDK's place, for tests and demos; once per word "
                 "or one JSON array");
}

// On Kubernetes the leader publishes its key when it first runs; the kubelet brings it here.
Result<std::string> wait_for_server_key(const std::string& path, const Logger& log,
                                        std::stop_token stop) {
  const SystemClock clock;
  bool told = false;
  while (true) {
    Result<std::string> key = read_file(path, 256);
    if (key) {
      while (!key->empty() && static_cast<unsigned char>(key->back()) <= ' ') key->pop_back();
      if (!key->empty()) return key;
    } else if (key.error().kind() != ErrorKind::NotFound) {
      return key;
    }
    if (!told) log.info("waiting for the coordinator's public key", {{"file", path}});
    told = true;
    if (!clock.sleep(std::chrono::seconds(1), stop)) {
      return Error(ErrorKind::Canceled, "stopped before there was a coordinator");
    }
  }
}

Result<void> complete_identity(Arguments& arguments) {
  AgentOptions& options = arguments.options;
  if (options.server_key.empty() && options.server_key_file.empty()) {
    return Error(ErrorKind::InvalidArgument, "give --server-key or --server-key-file");
  }
  if (arguments.kubelet_volumes) options.volumes.mode = VolumeRules::Mode::Kubelet;
  if (arguments.command == "move") {
    if (arguments.pod_uid.empty()) {
      return Error(ErrorKind::InvalidArgument, "move needs --pod-uid (or VMFERRY_POD_UID)");
    }
    options.volumes.mode = VolumeRules::Mode::Mover;
    options.node = protocol::mover_node(arguments.pod_uid);
    if (options.id.empty()) options.id.value = "mover-" + arguments.pod_uid;
  }
  if (options.id.empty()) options.id.value = options.node;
  if (options.id.empty()) return Error(ErrorKind::InvalidArgument, "give --id or --node");
  return {};
}

Result<void> complete(Arguments& arguments, const Logger& log, std::stop_token stop) {
  AgentOptions& options = arguments.options;
  if (!arguments.limit.empty()) {
    options.limit_bytes_per_second = TRY(parse_size(arguments.limit));
  }
  options.drain_time = std::chrono::milliseconds(
      static_cast<std::chrono::milliseconds::rep>(arguments.drain_seconds * 1000));
  options.nbdkit_silence = std::chrono::milliseconds(
      static_cast<std::chrono::milliseconds::rep>(arguments.nbdkit_silence_seconds * 1000));
  TRY(complete_identity(arguments));
  if (options.vddk_stand_in.size() == 1) {
    const std::string text = options.vddk_stand_in.front();
    if (text.starts_with('[')) {
      const nlohmann::json words = nlohmann::json::parse(text, nullptr, false);
      options.vddk_stand_in.clear();
      for (const nlohmann::json& word : words.is_array() ? words : nlohmann::json::array()) {
        if (word.is_string()) options.vddk_stand_in.push_back(word.get<std::string>());
      }
      if (options.vddk_stand_in.empty()) {
        return Error(ErrorKind::InvalidArgument, "--vddk-stand-in is no JSON array of strings");
      }
    } else if (text.find(' ') != std::string::npos) {
      options.vddk_stand_in.clear();
      for (std::size_t from = 0; from < text.size();) {
        const std::size_t to = std::min(text.find(' ', from), text.size());
        if (to > from) options.vddk_stand_in.push_back(text.substr(from, to - from));
        from = to + 1;
      }
    }
  }
  options.keys = TRY(CurveKeys::load_or_create(arguments.key_file));
  if (!options.server_key_file.empty()) {
    options.server_key = TRY(wait_for_server_key(options.server_key_file, log, stop));
  }
  return {};
}

// Where the signal handler leaves word for the thread that may act on it. Handlers rather than a
// blocked mask: a mask would be inherited by nbdkit, which then could not be ended with SIGTERM.
const WakeFd* stop_word = nullptr;

void leave_word(int) {
  const int saved = errno;
  stop_word->signal();
  errno = saved;
}

// Until the agent has ended by itself or a signal has asked it to.
Result<void> work(Arguments& arguments, const Logger& log, std::stop_token stop) {
  TRY(complete(arguments, log, stop));
  const SystemClock clock;
  const std::unique_ptr<Agent> agent = TRY(Agent::create(std::move(arguments.options), clock, log));
  return agent->run(stop);
}

// Signals first: a container's first process gets only those that it asks for.
Result<void> run(Arguments& arguments, const Logger& log) {
  static const WakeFd word;  // a late signal may still write to it
  stop_word = &word;
  struct sigaction action {};
  action.sa_handler = leave_word;
  action.sa_flags = SA_RESETHAND;  // a second signal is for the impatient
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  struct sigaction ignore {};
  ignore.sa_handler = [](int) {};
  sigaction(SIGPIPE, &ignore, nullptr);

  std::stop_source stop;
  std::atomic<bool> over{false};
  const std::jthread waiter([&] {
    struct pollfd readable {
      word.get(), POLLIN, 0
    };
    while (::poll(&readable, 1, -1) < 0 && errno == EINTR) {
    }
    if (!over) stop.request_stop();
  });
  Result<void> ended = work(arguments, log, stop.get_token());
  over = true;
  word.signal();
  if (!ended && ended.error().kind() == ErrorKind::Canceled) return {};
  return ended;
}

}  // namespace
}  // namespace vmferry

int main(int argc, char** argv) {
  // Before anything else: a holder costs next to nothing.
  if (argc == 2 && std::string_view(argv[1]) == "hold") return vmferry::hold();
  if (argc >= 2 && std::string_view(argv[1]) == "healthy") return vmferry::healthy(argc, argv);
  vmferry::Arguments arguments;
  CLI::App app("Copies virtual disks as a VMFerry coordinator tells it to.", "vmferry-agent");
  vmferry::describe(app, arguments);
  CLI11_PARSE(app, argc, argv);
  const vmferry::Logger log = vmferry::make_stderr_logger("vmferry-agent");
  const vmferry::Result<void> ended = vmferry::run(arguments, log);
  if (!ended) {
    std::fprintf(stderr, "vmferry-agent: %s\n", vmferry::to_string(ended.error()).c_str());
    return 1;
  }
  return 0;
}
