#pragma once

#include <chrono>
#include <iosfwd>
#include <string>
#include <thread>

#include "common/clock.h"

namespace vmferry::cli {

// Tells on stderr that something takes long, from the third second on: in place on a terminal,
// else a line every ten seconds. Gone without a trace on the terminal when the object is.
class WaitingNote {
 public:
  WaitingNote(std::ostream& err, bool terminal, std::string what, const Clock& clock);
  ~WaitingNote();
  WaitingNote(const WaitingNote&) = delete;
  WaitingNote& operator=(const WaitingNote&) = delete;

 private:
  void run(std::stop_token ending);

  std::ostream& err_;
  const bool terminal_;
  const std::string what_;
  const Clock& clock_;
  std::jthread thread_;
};

}  // namespace vmferry::cli
