#pragma once

#include <chrono>
#include <iosfwd>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cli/import_view.h"
#include "common/clock.h"

namespace vmferry::cli {

// Shows the state of imports as it changes: on a terminal in place, five times a second; elsewhere
// a line for what changed, every two seconds.
class Screen {
 public:
  Screen(std::ostream& out, bool terminal) : out_(out), terminal_(terminal) {}
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  std::chrono::milliseconds refresh_every() const;
  void show(const std::vector<ImportView>& imports);
  // Prints a line that stays, above the live view.
  void say(const std::string& line);

 private:
  void redraw(const std::vector<std::string>& lines);

  std::ostream& out_;
  const bool terminal_;
  std::size_t drawn_ = 0;             // lines of the live view on the screen
  std::set<std::string> last_plain_;  // not repeated while unchanged
};

}  // namespace vmferry::cli
