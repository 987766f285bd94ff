#pragma once

#include <string>
#include <vector>

#include "common/endpoint.h"
#include "common/result.h"

namespace vmferry::cli {

// The words of `vmferry copy SOURCE TARGET`, pure.
struct CopyEnds {
  DiskEndpoint source;               // url is empty when there is a command
  std::vector<std::string> command;  // "[ nbdkit file disk.img ]": what stands between
  std::string target;                // path, or "null:"
  bool null_target = false;
};

// `words` are SOURCE and TARGET, SOURCE perhaps as "[", words, "]". nbd://, nbds://, nbd+unix://
// are NBD servers; http:// and https:// servers with ranges, or imageio tickets with `imageio`;
// anything else is a local file (file:///path, too). User and password of an http URL go into the
// request's authorization. Errors: InvalidArgument.
Result<CopyEnds> parse_copy_ends(const std::vector<std::string>& words, bool imageio);

// The command line that makes an NBD server listen on `socket`: nbdkit and qemu-nbd get their
// options for it, in any other command every "{socket}" is replaced. InvalidArgument if there is
// none.
Result<std::vector<std::string>> command_on_socket(const std::vector<std::string>& command,
                                                   const std::string& socket);

}  // namespace vmferry::cli
