#include "cli/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ostream>

#include "cli/progress_view.h"
#include "cli/table.h"

namespace vmferry::cli {
namespace {

ProgressStyle style_of_terminal() {
  ProgressStyle style{.width = 80, .height = 24, .color = std::getenv("NO_COLOR") == nullptr};
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 1) {
    // A line that fills the last column wraps on some terminals.
    style.width = std::max(20, size.ws_col - 1);
    style.height = static_cast<std::size_t>(size.ws_row - 1);
  }
  return style;
}

}  // namespace

Screen::~Screen() { out_.flush(); }

std::chrono::milliseconds Screen::refresh_every() const {
  return std::chrono::milliseconds(terminal_ ? 200 : 2000);
}

void Screen::redraw(const std::vector<std::string>& lines) {
  // One write per picture, each line erased as it is replaced: no flicker.
  std::string picture;
  if (drawn_ > 0) picture += fmt::format("\x1b[{}A", drawn_);
  for (const std::string& line : lines) picture += "\r" + line + "\x1b[K\n";
  picture += "\x1b[J";
  out_ << picture << std::flush;
  drawn_ = lines.size();
}

void Screen::show(const std::vector<ImportView>& imports) {
  if (terminal_) {
    redraw(progress_lines(imports, style_of_terminal()));
    return;
  }
  std::set<std::string> shown;
  for (const std::string& line : plain_lines(imports)) {
    if (!last_plain_.contains(line)) out_ << line << '\n';
    shown.insert(line);
  }
  last_plain_ = std::move(shown);
  out_.flush();
}

void Screen::say(const std::string& line) {
  if (drawn_ > 0) out_ << fmt::format("\x1b[{}A\r\x1b[J", drawn_);
  drawn_ = 0;
  out_ << printable(line) << '\n' << std::flush;
}

}  // namespace vmferry::cli
