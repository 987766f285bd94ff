#include "cli/waiting_note.h"

#include <ostream>

#include "cli/table.h"
#include "common/bytes.h"

namespace vmferry::cli {
namespace {

constexpr std::chrono::seconds kPatience{2};
constexpr std::chrono::seconds kRedraw{1};
constexpr std::chrono::seconds kRepeat{10};

}  // namespace

WaitingNote::WaitingNote(std::ostream& err, bool terminal, std::string what, const Clock& clock)
    : err_(err), terminal_(terminal), what_(printable(what)), clock_(clock) {
  thread_ = std::jthread([this](std::stop_token ending) { run(std::move(ending)); });
}

WaitingNote::~WaitingNote() = default;  // the thread is told and joined

void WaitingNote::run(std::stop_token ending) {
  const SteadyTime start = clock_.steady();
  bool drawn = false;
  std::chrono::seconds pause = kPatience;
  while (clock_.sleep(pause, ending)) {
    const double seconds = Seconds(clock_.steady() - start).count();
    const std::string line = fmt::format("{} ... {}", what_, human_duration(seconds));
    err_ << (terminal_ ? "\r" + line + "\x1b[K" : line + "\n") << std::flush;
    drawn = true;
    pause = terminal_ ? kRedraw : kRepeat;
  }
  if (drawn && terminal_) err_ << "\r\x1b[K" << std::flush;
}

}  // namespace vmferry::cli
