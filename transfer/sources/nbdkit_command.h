#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/endpoint.h"
#include "common/error.h"
#include "common/result.h"
#include "transfer/open_source.h"

namespace vmferry {

// The files of one nbdkit child.
struct NbdkitPaths {
  std::string socket;
  std::string pidfile;
  std::string vddk_config = {};  // VDDK's own settings; empty: none
};

// What vddk_config holds: reads several blocks ahead over one session, and time limits that outlast
// a host under load (source-vmware.md 8.1).
std::string_view vddk_settings();

// The file descriptor of the child that the password comes through; the parent never puts the
// password itself on a command line (source-vmware.md 8.1).
inline constexpr int kNbdkitPasswordFd = 3;

// The command line, program first. InvalidArgument: no libdir, a server or file missing, a
// thumbprint that is none.
Result<std::vector<std::string>> nbdkit_command(const DiskEndpoint& endpoint,
                                                const SourceEnvironment& environment,
                                                const NbdkitPaths& paths);

// Whether sources of kind NbdkitVddk can be read here: VDDK's libraries lie in `libdir`, or a
// stand-in takes their place.
bool has_vddk(const std::string& libdir, const std::vector<std::string>& stand_in);

// InvalidArgument with VMF-SRC-VDDK-MISSING: a directory that holds no VDDK.
Error no_vddk_in(const std::string& libdir);

// Why a child did not come up or does not open the disk, told from its stderr: causes that a person
// mends in different ways. Unimplemented: nbdkit's plugin is missing; InvalidArgument: VDDK's
// libraries are not found; PermissionDenied with VMF-SRC-AUTH or -TLS: the server refused the
// login, or we its certificate; NotFound with VMF-SRC-DISK-MISSING; else Unavailable.
Error explain_nbdkit_failure(const std::vector<std::string>& stderr_lines);

// The sessions of VDDK that a child has begun and not ended, as its verbose stderr tells: they last
// from one connection to the server until it is closed.
class VddkSessions {
 public:
  void add(std::string_view stderr_line);
  int begun() const { return begun_; }
  int open() const { return begun_ - ended_; }

 private:
  int begun_ = 0, ended_ = 0;
};

// Whether the lines tell that the ESXi host ran out of memory for reads of this size (8.4).
bool tells_nfc_memory_exhausted(std::string_view stderr_line);

}  // namespace vmferry
