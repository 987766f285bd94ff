#include "transfer/sources/nbdkit_command.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "common/catalogue.h"

namespace vmferry {
namespace {

bool contains(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

// "[ds] dir/disk.vmdk" -> "ds", "dir/disk.vmdk".
std::pair<std::string, std::string> split_datastore_path(const std::string& file) {
  const std::size_t close = file.find(']');
  if (!file.starts_with("[") || close == std::string::npos) return {"", file};
  const std::size_t path = file.find_first_not_of(' ', close + 1);
  return {file.substr(1, close - 1), path == std::string::npos ? "" : file.substr(path)};
}

Result<void> add_vddk(std::vector<std::string>& command, const DiskEndpoint::Vddk& vddk,
                      const std::string& libdir, const std::string& config) {
  if (!has_vddk(libdir, {})) return no_vddk_in(libdir);
  if (vddk.server.empty() || vddk.file.empty() || vddk.vm_moref.empty()) {
    return make_error(ErrorKind::InvalidArgument, "VDDK needs server, VM and file");
  }
  command.insert(
      command.end(),
      {"vddk", "libdir=" + libdir, "server=" + vddk.server, "port=" + std::to_string(vddk.port),
       "user=" + vddk.user, "password=-" + std::to_string(kNbdkitPasswordFd),
       "thumbprint=" + TRY(parse_thumbprint(vddk.thumbprint)), "vm=moref=" + vddk.vm_moref});
  if (!vddk.snapshot_moref.empty()) command.push_back("snapshot=" + vddk.snapshot_moref);
  if (!vddk.transports.empty()) command.push_back("transports=" + vddk.transports);
  if (!config.empty()) command.push_back("config=" + config);
  command.push_back("file=" + vddk.file);
  return {};
}

}  // namespace

bool has_vddk(const std::string& libdir, const std::vector<std::string>& stand_in) {
  std::error_code ignored;
  return !stand_in.empty() ||
         (!libdir.empty() && std::filesystem::is_directory(libdir + "/lib64", ignored));
}

Error no_vddk_in(const std::string& libdir) {
  return coded_error(ErrorKind::InvalidArgument, code::kVddkMissing,
                     "the VDDK directory '{}' holds no lib64/ with libvixDiskLib in it: unpack "
                     "vmware-vix-disklib-distrib there",
                     libdir);
}

std::string_view vddk_settings() {
  return "vixDiskLib.nfcAio.Session.BufSizeIn64KB=16\n"
         "vixDiskLib.nfcAio.Session.BufCount=4\n"
         "vixDiskLib.nfc.AcceptTimeoutMs=180000\n"
         "vixDiskLib.nfc.RequestTimeoutMs=180000\n"
         "vixDiskLib.nfc.ReadTimeoutMs=60000\n"
         "vixDiskLib.nfc.WriteTimeoutMs=600000\n"
         "vixDiskLib.nfcFssrvr.TimeoutMs=0\n"
         "vixDiskLib.nfcFssrvrWrite.TimeoutMs=0\n";
}

Result<std::vector<std::string>> nbdkit_command(const DiskEndpoint& endpoint,
                                                const SourceEnvironment& environment,
                                                const NbdkitPaths& paths) {
  const bool real = environment.vddk_stand_in.empty();
  std::vector<std::string> command{environment.nbdkit_program,
                                   "--readonly",
                                   "--foreground",
                                   "--exit-with-parent",
                                   "--unix",
                                   paths.socket,
                                   "--pidfile",
                                   paths.pidfile,
                                   "--threads",
                                   "16"};
  if (real) {
    // Verbose, because VDDK's own messages are all there is when it fails; without a line per read.
    command.insert(command.end(),
                   {"-D", "nbdkit.backend.datapath=0", "-D", "vddk.datapath=0", "-v"});
  }
  // Nearest to us first: VDDK's slow answers about allocation are asked for in large pieces; reads
  // keep 512-byte alignment and stay below what vCenter can allocate; a lost session is reopened.
  command.insert(command.end(), {"--filter=cacheextents", "--filter=blocksize", "--filter=retry"});
  if (real) {
    TRY(add_vddk(command, endpoint.vddk, environment.vddk_libdir, paths.vddk_config));
  } else {
    const auto [datastore, path] = split_datastore_path(endpoint.vddk.file);
    for (std::string word : environment.vddk_stand_in) {
      replace_all(word, "{file}", endpoint.vddk.file);
      replace_all(word, "{ds}", datastore);
      replace_all(word, "{path}", path);
      command.push_back(std::move(word));
    }
  }
  // One retry a request: the filter also opens the disk again when that failed at first, and each
  // opening is a login, of which a few wrong ones lock the account. More patience is ours.
  command.insert(command.end(), {"minblock=512", "maxdata=2M", "retries=1", "retry-delay=1"});
  return command;
}

Error explain_nbdkit_failure(const std::vector<std::string>& lines) {
  const auto any = [&](std::string_view first, std::string_view second) {
    return std::ranges::any_of(lines, [&](const std::string& line) {
      return contains(line, first) && contains(line, second);
    });
  };
  const std::size_t shown = std::min<std::size_t>(lines.size(), 50);
  const std::string tail =
      fmt::format("{}", fmt::join(lines.end() - static_cast<long>(shown), lines.end(), "; "));
  const std::string detail = tail.empty() ? "it printed nothing" : tail;
  if (any("cannot open plugin", "") || any("cannot open filter", "")) {
    return coded_error(ErrorKind::Unimplemented, code::kNbdkitMissing,
                       "nbdkit lacks a plugin or filter: {}", detail);
  }
  // Verbose lines name both as well, when all is fine.
  if (any("error:", "libvixDiskLib.so") || any("error: vddk", "libdir") ||
      any("libvixDiskLib", "cannot open shared object")) {
    return coded_error(ErrorKind::InvalidArgument, code::kVddkMissing,
                       "VDDK's libraries cannot be loaded: {}", detail);
  }
  if (any("incorrect user name or password", "") || any("InvalidLogin", "") ||
      any("Insufficient permissions", "")) {
    return coded_error(ErrorKind::PermissionDenied, code::kSourceAuth,
                       "the server refused VDDK's login: {}", detail);
  }
  if (any("thumbprint", "does not match")) {
    return coded_error(ErrorKind::PermissionDenied, code::kSourceTls,
                       "VDDK does not trust the server's certificate: {}", detail);
  }
  if (any("A file was not found", "")) {
    return coded_error(ErrorKind::NotFound, code::kDiskMissing, "VDDK does not find the disk: {}",
                       detail);
  }
  if (any("VixDiskLib_Open", "Unknown error") || any("VixDiskLib_ConnectEx", "Unknown error")) {
    // VDDK has no other word for a thumbprint that does not fit.
    return coded_error(ErrorKind::Unavailable, code::kSourceUnreachable,
                       "VDDK cannot open the disk; check the thumbprint, and that the names of the "
                       "ESXi hosts resolve here: {}",
                       detail);
  }
  return coded_error(ErrorKind::Unavailable, code::kSourceUnreachable, "nbdkit did not start: {}",
                     detail);
}

void VddkSessions::add(std::string_view line) {
  if (contains(line, "VDDK call: VixDiskLib_ConnectEx ")) ++begun_;
  const bool refused = contains(line, "error: VixDiskLib_ConnectEx:");
  if ((refused || contains(line, "VDDK call: VixDiskLib_Disconnect ")) && ended_ < begun_) ++ended_;
}

bool tells_nfc_memory_exhausted(std::string_view line) {
  return contains(line, "NFC") && contains(line, "ailed to allocate");
}

}  // namespace vmferry
