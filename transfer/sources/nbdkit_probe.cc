#include "transfer/sources/nbdkit_probe.h"

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "common/catalogue.h"
#include "common/clock.h"
#include "transfer/sources/child_process.h"
#include "transfer/sources/nbdkit_command.h"
#include "transfer/sources/private_directory.h"

namespace vmferry {
namespace {

constexpr std::chrono::seconds kDeadline{15};  // loading VDDK's libraries takes a second or two
constexpr std::chrono::milliseconds kPoll{20};
constexpr std::chrono::seconds kGrace{5};
constexpr const char* kListens = "/probe.pid";  // nbdkit writes it once it listens

// The name of the library that lies there; empty: none.
std::string library_in(const std::string& libdir) {
  std::error_code failed;
  std::filesystem::directory_iterator entry(libdir + "/lib64", failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    std::string name = entry->path().filename().string();
    if (name.starts_with("libvixDiskLib.so")) return name;
  }
  return {};
}

// Serves a disk that nobody connects to: filters, plugin and libraries are loaded for it, and the
// disk is not opened. (--dump-plugin is content without the libraries; --run needs a shell, which
// our image has not.)
std::vector<std::string> probe_command(const SourceEnvironment& environment,
                                       const std::string& folder) {
  return {environment.nbdkit_program,
          "--foreground",
          "--readonly",
          "--unix",
          folder + "/probe.sock",
          "--pidfile",
          folder + kListens,
          "--filter=cacheextents",
          "--filter=blocksize",
          "--filter=retry",
          "vddk",
          "libdir=" + environment.vddk_libdir,
          "file=/nobody/connects.vmdk"};
}

}  // namespace

Result<void> check_vddk(const SourceEnvironment& environment, std::stop_token stop) {
  if (!environment.vddk_stand_in.empty()) return {};
  const std::string& libdir = environment.vddk_libdir;
  const std::string library = library_in(libdir);
  if (!has_vddk(libdir, {}) || library.empty()) return no_vddk_in(libdir);
  const auto folder = TRY(PrivateDirectory::make(environment.scratch_directory));
  StderrTail tail({});
  Result<std::unique_ptr<ChildProcess>> child = ChildProcess::start(
      {.command = probe_command(environment, folder->path()), .secret = {}}, tail);
  if (!child && child.error().kind() == ErrorKind::NotFound) {
    return coded_error(ErrorKind::Unimplemented, code::kNbdkitMissing,
                       "nbdkit is not installed: {}", child.error().message());
  }
  if (!child) return std::move(child).error();
  const SystemClock clock;
  const SteadyTime deadline = clock.steady() + kDeadline;
  while ((*child)->running()) {
    if (std::filesystem::exists(folder->path() + kListens)) {
      (*child)->terminate(kGrace);
      return {};
    }
    if (clock.steady() > deadline) {
      return coded_error(ErrorKind::DeadlineExceeded, code::kVddkMissing,
                         "nbdkit did not load VDDK's libraries from '{}' within {} s", libdir,
                         kDeadline.count());
    }
    if (!clock.sleep(kPoll, stop)) return Error(ErrorKind::Canceled, "asking nbdkit was canceled");
  }
  Error why = explain_nbdkit_failure(tail.lines());
  if (why.code() == code::kVddkMissing) why = std::move(why).with_context("found " + library);
  return why;
}

}  // namespace vmferry
