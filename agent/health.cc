#include "agent/health.h"

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "common/fd.h"

namespace vmferry {
namespace {

constexpr std::chrono::seconds kTellEvery{1};
constexpr std::chrono::seconds kOld{20};  // the control loop never sleeps longer than a second
constexpr std::size_t kMaxBytes = 64;
constexpr std::string_view kConnected = "connected";
constexpr std::string_view kAlone = "alone";

std::int64_t milliseconds_of(SteadyTime boot) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(boot.time_since_epoch()).count();
}

}  // namespace

Result<void> HealthFile::tell(bool connected, SteadyTime boot) {
  if (path_.empty()) return {};
  if (connected == connected_ && told_ != SteadyTime{} && boot < told_ + kTellEvery) return {};
  TRY(write_file_atomically(
      path_, fmt::format("{} {}\n", connected ? kConnected : kAlone, milliseconds_of(boot))));
  connected_ = connected;
  told_ = boot;
  return {};
}

Result<void> check_health(const std::string& path, bool connected, SteadyTime boot) {
  const std::string text = TRY(read_file(path, kMaxBytes));
  const auto refused = [&] {
    return make_error(ErrorKind::Internal, "'{}' was not written by an agent", path);
  };
  const std::size_t space = text.find(' ');
  if (space == std::string::npos) return refused();
  const std::string_view word = std::string_view(text).substr(0, space);
  std::int64_t told = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data() + space + 1, end, told);
  if (failure != std::errc() || rest == end || *rest != '\n') return refused();
  if (word != kConnected && word != kAlone) return refused();

  const std::int64_t age = milliseconds_of(boot) - told;
  if (age > std::chrono::milliseconds(kOld).count()) {
    return make_error(ErrorKind::Unavailable, "the agent has said nothing for {} s", age / 1000);
  }
  if (connected && word != kConnected) {
    return Error(ErrorKind::Unavailable,
                 "the agent has no coordinator; its log says since when, and why");
  }
  return {};
}

int healthy(int argc, char** argv) {
  CLI::App app("Exit code 0: the agent that writes this file is well.", "vmferry-agent healthy");
  std::string command;
  std::string path;
  bool connected = false;
  app.add_option("command", command)->required();
  app.add_option("--health", path, "The agent's --health")->required();
  app.add_flag("--connected", connected, "And it has a coordinator");
  CLI11_PARSE(app, argc, argv);
  const Result<void> well = check_health(path, connected, SystemClock().boot());
  if (well) return 0;
  std::fprintf(stderr, "vmferry-agent: %s\n", to_string(well.error()).c_str());
  return 1;
}

}  // namespace vmferry
