#include "transfer/sources/nbdkit_probe.h"

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "common/catalogue.h"
#include "common/clock.h"
#include "transfer/sources/child_process.h"
#include "transfer/sources/nbdkit_command.h"

namespace vmferry {
namespace {

constexpr std::chrono::seconds kDeadline{15};  // loading VDDK's libraries takes a second or two
constexpr std::chrono::milliseconds kPoll{20};

// The plugin itself says nothing about a library that is not there until it opens a disk.
bool has_library(const std::string& libdir) {
  std::error_code failed;
  std::filesystem::directory_iterator entry(libdir + "/lib64", failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    if (entry->path().filename().string().starts_with("libvixDiskLib.so")) return true;
  }
  return false;
}

}  // namespace

Result<void> check_vddk(const SourceEnvironment& environment, std::stop_token stop) {
  if (!environment.vddk_stand_in.empty()) return {};
  const std::string& libdir = environment.vddk_libdir;
  if (!has_vddk(libdir, {}) || !has_library(libdir)) return no_vddk_in(libdir);
  StderrTail tail({});
  Result<std::unique_ptr<ChildProcess>> child = ChildProcess::start(
      {.command = {environment.nbdkit_program, "vddk", "--dump-plugin", "libdir=" + libdir},
       .secret = {}},
      tail);
  if (!child && child.error().kind() == ErrorKind::NotFound) {
    return coded_error(ErrorKind::Unimplemented, code::kNbdkitMissing,
                       "nbdkit is not installed: {}", child.error().message());
  }
  if (!child) return std::move(child).error();
  const SystemClock clock;
  const SteadyTime deadline = clock.steady() + kDeadline;
  while ((*child)->running()) {
    if (clock.steady() > deadline) {
      return coded_error(ErrorKind::DeadlineExceeded, code::kVddkMissing,
                         "nbdkit did not load VDDK's libraries from '{}' within {} s", libdir,
                         kDeadline.count());
    }
    if (!clock.sleep(kPoll, stop)) return Error(ErrorKind::Canceled, "asking nbdkit was canceled");
  }
  if ((*child)->exit_status() == 0) return {};
  return explain_nbdkit_failure(tail.lines());
}

}  // namespace vmferry
