#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
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

// The parser of the command line would take a "-f" between the brackets for an option of ours:
// words between "[" and "]" are shielded from it by a control character in front, which
// parse_copy_ends takes off again.
std::vector<std::string> shield_bracketed(std::vector<std::string> words);

// `words` are SOURCE and TARGET, SOURCE perhaps as "[", words, "]". nbd://, nbds://, nbd+unix://
// are NBD servers; what http:// and https:// are says `web` (HttpRange, Imageio or VmdkStream);
// anything else is a local file (file:///path, too). User and password of an http URL go into the
// request's authorization. Errors: InvalidArgument.
Result<CopyEnds> parse_copy_ends(const std::vector<std::string>& words, SourceKind web);

// The command line that makes an NBD server listen on `socket`: nbdkit and qemu-nbd get their
// options for it, in any other command every "{socket}" is replaced. InvalidArgument if there is
// none.
Result<std::vector<std::string>> command_on_socket(const std::vector<std::string>& command,
                                                   const std::string& socket);

// What a disk that begins with these bytes is a container of ("qcow2", "VMDK"), empty when it is
// none that is known: copied as it is, a guest could not boot from it.
std::string_view container_format(std::span<const std::byte> beginning);

// InvalidArgument when target or journal are the source itself (also as a word of its command), or
// one another: under whatever name, opening it would destroy what is to be read.
Result<void> check_ends_differ(const CopyEnds& ends, const std::string& journal);

}  // namespace vmferry::cli
