#include "cli/server_child.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "cli/copy_arguments.h"
#include "common/catalogue.h"
#include "common/clock.h"
#include "common/fd.h"

namespace vmferry::cli {
namespace {

constexpr std::chrono::seconds kStartLimit{30};
constexpr std::chrono::milliseconds kPoll{20};
constexpr std::chrono::seconds kStopGrace{1};  // an interrupted copy ends within two seconds
constexpr std::chrono::milliseconds kWatch{200};

// The socket's file is there a moment before its server listens.
bool takes_connections(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return fd &&
         ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

Result<std::unique_ptr<ServerChild>> ServerChild::start(const std::vector<std::string>& command,
                                                        std::stop_token stop) {
  std::unique_ptr<ServerChild> server(new ServerChild());
  server->program_ = command.front();
  server->directory_ = TRY(PrivateDirectory::make(""));
  server->socket_ = server->directory_->path() + "/nbd.sock";
  ChildProcess::Options options;
  options.command = TRY(command_on_socket(command, server->socket_));
  Result<std::unique_ptr<ChildProcess>> child =
      ChildProcess::start(std::move(options), server->tail_);
  if (!child && child.error().kind() == ErrorKind::NotFound && command.front() == "nbdkit") {
    return Error(ErrorKind::NotFound, code::kNbdkitMissing, child.error().message());
  }
  server->child_ = TRY(std::move(child));
  auto listening = server->wait_for_socket(std::move(stop));
  if (listening) return server;
  server->child_->terminate(kStopGrace);  // its last words are complete then
  std::string last_words;
  for (const std::string& line : server->tail_.lines()) last_words += "; " + line;
  const Error& error = listening.error();
  return Error(error.kind(), error.code(), error.message() + last_words)
      .with_context(command.front());
}

std::stop_token ServerChild::stop_when_gone(std::stop_token outer) {
  outer_.emplace(std::move(outer), [this] { stop_.request_stop(); });
  watch_ = std::jthread([this](std::stop_token ending) {
    const SystemClock clock;
    while (clock.sleep(kWatch, ending)) {
      // A program that serves from the background has ended and still listens.
      if (child_->running() || takes_connections(socket_)) continue;
      gone_ = true;
      stop_.request_stop();
      return;
    }
  });
  return stop_.get_token();
}

std::optional<Error> ServerChild::gone() const {
  if (!gone_) return std::nullopt;
  std::string last_words;
  for (const std::string& line : tail_.lines()) last_words += "; " + line;
  return Error(ErrorKind::Unavailable, code::kSourceUnreachable,
               fmt::format("'{}' ended with exit status {} while its disk was read{}", program_,
                           child_->exit_status().value_or(0), last_words));
}

ServerChild::~ServerChild() {
  watch_ = {};
  if (child_) child_->terminate(kStopGrace);
}

Result<void> ServerChild::wait_for_socket(std::stop_token stop) const {
  const SystemClock clock;
  const SteadyTime end = clock.steady() + kStartLimit;
  while (!takes_connections(socket_)) {
    if (!child_->running()) {
      return Error(ErrorKind::Unavailable, code::kSourceUnreachable, "ended before it listened");
    }
    if (clock.steady() >= end) {
      return Error(ErrorKind::Unavailable, code::kSourceUnreachable, "did not listen within 30 s");
    }
    if (!clock.sleep(kPoll, stop)) return Error(ErrorKind::Canceled, "stopped");
  }
  return {};
}

}  // namespace vmferry::cli
