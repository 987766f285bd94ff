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
};

// The file descriptor of the child that the password comes through; the parent never puts the
// password itself on a command line (source-vmware.md 8.1).
inline constexpr int kNbdkitPasswordFd = 3;

// The command line, program first. InvalidArgument: no libdir, a server or file missing, a
// thumbprint that is none.
Result<std::vector<std::string>> nbdkit_command(const DiskEndpoint& endpoint,
                                                const SourceEnvironment& environment,
                                                const NbdkitPaths& paths);

// Why a child did not come up, told from its stderr: three causes that a person mends in three ways
// (nbdkit's plugin missing, VDDK's libraries not found, the rest).
Error explain_nbdkit_failure(const std::vector<std::string>& stderr_lines);

// Whether the lines tell that the ESXi host ran out of memory for reads of this size (8.4).
bool tells_nfc_memory_exhausted(std::string_view stderr_line);

}  // namespace vmferry
