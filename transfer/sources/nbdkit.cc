#include "transfer/sources/nbdkit.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/catalogue.h"
#include "common/clock.h"
#include "common/fd.h"
#include "transfer/sources/nbdkit_command.h"

namespace vmferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint64_t kWorthRestarts = 1u << 30;  // so much since the last start
constexpr milliseconds kPidfilePoll{20};
constexpr milliseconds kChildPoll{100};

// The NBD source with the child that it reads from.
class NbdkitSource final : public DiskSource {
 public:
  NbdkitSource(std::shared_ptr<NbdkitServer> server, std::unique_ptr<NbdSource> disk)
      : server_(std::move(server)), disk_(std::move(disk)) {}

  std::uint64_t size_bytes() const override { return disk_->size_bytes(); }
  SourceHints hints() const override { return disk_->hints(); }
  SourceIdentity identity() const override { return disk_->identity(); }
  Result<std::vector<Extent>> extents(ByteRange range, std::stop_token stop) override {
    return explained(disk_->extents(range, std::move(stop)));
  }
  Result<void> read(std::uint64_t offset, std::span<std::byte> into,
                    std::stop_token stop) override {
    Result<void> read = disk_->read(offset, into, std::move(stop));
    if (read) server_->has_delivered(into.size());
    return explained(std::move(read));
  }
  SourceCounters counters() const override { return disk_->counters(); }
  SourceTroubles troubles() const override { return disk_->troubles(); }

 private:
  // What VDDK says about a failed read is on stderr alone.
  template <typename T>
  Result<T> explained(Result<T> result) const {
    if (result || result.error().kind() == ErrorKind::Canceled) return result;
    const std::vector<std::string> lines = server_->stderr_lines();
    if (lines.empty()) return result;
    return Error(result.error().kind(), result.error().code(),
                 result.error().message() + " (nbdkit: " + lines.back() + ")");
  }

  const std::shared_ptr<NbdkitServer> server_;
  const std::unique_ptr<NbdSource> disk_;  // goes first: says goodbye to the server
};

}  // namespace

NbdOptions NbdkitOptions::vddk_defaults() {
  NbdOptions options;
  options.max_connections = 1;  // each would be another VDDK session, and they hinder each other
  options.workers = 8;
  options.connect_deadline = std::chrono::seconds(120);  // the remote disk is opened on connect
  return options;
}

NbdkitServer::NbdkitServer(DiskEndpoint endpoint, SourceEnvironment environment,
                           NbdkitOptions options)
    : endpoint_(std::move(endpoint)),
      environment_(std::move(environment)),
      options_(std::move(options)),
      tail_({endpoint_.vddk.password}) {
  tail_.on_line([this](const std::string& line) {
    if (tells_nfc_memory_exhausted(line)) memory_complaints_.fetch_add(1);
    const std::lock_guard lock(sessions_mutex_);
    sessions_.add(line);
    sessions_changed_.notify_all();
  });
}

NbdkitServer::~NbdkitServer() {
  if (!child_) return;
  wait_until_sessions_end();
  child_->terminate(options_.stop_grace);
}

// nbdkit that is told to end closes no disk any more, not even one whose client said goodbye a
// moment ago: the session would stay at the host, and count against its limits, until it times out.
void NbdkitServer::wait_until_sessions_end() {
  if (!environment_.vddk_stand_in.empty()) return;  // nothing to end, and its stderr tells nothing
  const auto deadline = steady_clock::now() + options_.stop_grace;
  std::unique_lock lock(sessions_mutex_);
  while (sessions_.open() > 0 || sessions_.begun() < dialed_) {
    const auto left = deadline - steady_clock::now();
    if (left <= steady_clock::duration::zero()) {
      environment_.log.warn("nbdkit ends with VDDK's session still open",
                            {{"sessions", sessions_.open()}});
      return;
    }
    lock.unlock();
    const bool running = child_->running();
    lock.lock();
    if (!running) return;
    sessions_changed_.wait_for(lock, std::min<steady_clock::duration>(left, kChildPoll));
  }
}

pid_t NbdkitServer::pid() const {
  const std::lock_guard lock(mutex_);
  return child_ ? child_->pid() : -1;
}

Result<void> NbdkitServer::ensure_running(std::stop_token stop) {
  const std::lock_guard lock(mutex_);  // one connection is dialed at a time: nobody else waits here
  if (child_ && child_->running()) return {};
  // A host that hiccups now and then in days is not one that never gives anything.
  if (delivered_.exchange(0) >= kWorthRestarts) starts_ = std::min(starts_, 1);
  if (starts_ > options_.max_restarts) {
    // Aborted: it ends this attempt; the next one may be at a better time, or on another node.
    return coded_error(ErrorKind::Aborted, code::kSourceRead, "nbdkit died or hung {} times: {}",
                       starts_, explain_nbdkit_failure(tail_.lines()).message());
  }
  if (starts_ > 0) {
    environment_.log.warn(
        hung_ ? "nbdkit hung and is started again" : "nbdkit died and is started again",
        {{"attempt", starts_}});
  }
  ++starts_;
  hung_ = false;
  return start(std::move(stop));
}

// VDDK waits inside for a host that is gone, or for its own lock: no signal but the last ends that,
// and its sessions count against the host's limits until they time out (source-vmware.md 8.1, 8.4).
void NbdkitServer::kill_hung() {
  const std::lock_guard lock(mutex_);
  if (!child_ || !child_->running()) return;
  environment_.log.warn("nbdkit does not answer and is killed", {{"pid", child_->pid()}});
  child_->terminate(options_.hung_grace);
  hung_ = true;
}

Result<void> NbdkitServer::start(std::stop_token stop) {
  child_.reset();
  {
    const std::lock_guard lock(sessions_mutex_);
    sessions_ = {};
    dialed_ = 0;
  }
  directory_ = TRY(PrivateDirectory::make(environment_.scratch_directory));
  const NbdkitPaths paths{directory_->path() + "/nbd.sock", directory_->path() + "/nbdkit.pid",
                          directory_->path() + "/vddk.conf"};
  TRY(write_file_atomically(paths.vddk_config, vddk_settings(), 0600));
  std::vector<std::string> command = TRY(nbdkit_command(endpoint_, environment_, paths));
  const bool takes_password = environment_.vddk_stand_in.empty();
  Result<std::unique_ptr<ChildProcess>> child =
      ChildProcess::start({.command = std::move(command),
                           .secret = takes_password ? endpoint_.vddk.password : SecretString(),
                           .secret_fd = kNbdkitPasswordFd},
                          tail_);
  if (!child && child.error().kind() == ErrorKind::NotFound) {
    return coded_error(ErrorKind::Unimplemented, code::kNbdkitMissing,
                       "nbdkit is not installed: {}", child.error().message());
  }
  if (!child) return std::move(child).error();
  child_ = *std::move(child);

  const SystemClock clock;
  const auto deadline = steady_clock::now() + options_.start_deadline;
  std::error_code ignored;
  while (!std::filesystem::exists(paths.pidfile, ignored)) {
    if (!child_->running()) return explain_nbdkit_failure(tail_.lines());
    if (steady_clock::now() > deadline) {
      return coded_error(ErrorKind::DeadlineExceeded, code::kSourceUnreachable,
                         "nbdkit did not listen within {} ms", options_.start_deadline.count());
    }
    if (!clock.sleep(kPidfilePoll, stop)) {
      return make_error(ErrorKind::Canceled, "starting nbdkit was canceled");
    }
  }
  return {};
}

Result<NbdHandle> NbdkitServer::dial(milliseconds deadline, std::stop_token stop) {
  TRY(ensure_running(stop));
  std::string socket;
  {
    const std::lock_guard lock(mutex_);
    socket = directory_->path() + "/nbd.sock";
  }
  Result<NbdHandle> handle =
      dial_nbd({.uri = {}, .unix_socket = socket, .certificates_directory = {}}, deadline, stop);
  if (handle) {
    const std::lock_guard lock(sessions_mutex_);
    ++dialed_;
  }
  if (handle || handle.error().kind() == ErrorKind::Canceled) return handle;
  if (handle.error().kind() == ErrorKind::DeadlineExceeded) kill_hung();
  const Error why = explain_nbdkit_failure(tail_.lines());
  // What trying again does not mend.
  if (why.kind() == ErrorKind::PermissionDenied || why.kind() == ErrorKind::NotFound) return why;
  return Error(handle.error().kind(), handle.error().code(),
               handle.error().message() + ": " + why.message());
}

Result<std::unique_ptr<DiskSource>> open_nbdkit_source(const DiskEndpoint& endpoint,
                                                       const SourceEnvironment& environment,
                                                       const NbdkitOptions& options,
                                                       std::stop_token stop) {
  auto server = std::make_shared<NbdkitServer>(endpoint, environment, options);
  SourceIdentity identity = endpoint.identity;
  if (identity.empty()) identity.emplace_back("file", endpoint.vddk.file);
  NbdOptions nbd = options.nbd;
  nbd.on_silence = [server] { server->kill_hung(); };
  nbd.memory_complaints = [server] { return server->memory_complaints(); };
  std::unique_ptr<NbdSource> disk = TRY(NbdSource::open(
      [server](milliseconds deadline, std::stop_token dial_stop) {
        return server->dial(deadline, std::move(dial_stop));
      },
      std::move(identity), nbd, environment.log, std::move(stop)));
  return std::unique_ptr<DiskSource>(
      std::make_unique<NbdkitSource>(std::move(server), std::move(disk)));
}

}  // namespace vmferry
