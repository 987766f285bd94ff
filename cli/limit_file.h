#pragma once

#include <string>
#include <thread>

#include "cli/context.h"
#include "transfer/throttle.h"

namespace vmferry::cli {

// Follows a file that holds a rate ("200M"; "0" or "off": no limit) and keeps
// `throttle` at it, so that a running copy is made slower or faster from outside. A change takes
// effect within a second. A rate that cannot be read changes nothing and is told once, on stderr.
class LimitFile {
 public:
  // The rate that the file holds now, in bytes per second; 0: unlimited. InvalidArgument for
  // anything that is no rate, Unavailable for an empty file (a shell empties it before it writes),
  // NotFound without one.
  static Result<std::uint64_t> read(const std::string& path);

  // The same before the copy begins; of an empty file a note says that nothing is limited yet.
  static Result<std::uint64_t> first(Context& context, const std::string& path);

  LimitFile(Context& context, std::string path, Throttle& throttle);

 private:
  void follow(std::stop_token ending);

  Context& context_;
  const std::string path_;
  Throttle& throttle_;
  std::jthread thread_;
};

}  // namespace vmferry::cli
