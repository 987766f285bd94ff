#include "cli/follow.h"

#include <algorithm>

#include "cli/load_views.h"
#include "cli/screen.h"

namespace vmferry::cli {

bool BlockedTimer::expired(const ImportView& import, SteadyTime now) {
  if (!limit_ || import.outcome != ImportOutcome::Blocked) {
    since_.erase(import.key);
    return false;
  }
  const std::string why = import.reason + "\n" + import.message;
  Since& since = since_.try_emplace(import.key, Since{why, now}).first->second;
  if (since.why != why) since = {why, now};
  return now - since.time >= *limit_;
}

int exit_code_of(const std::vector<ImportView>& imports) {
  const bool all = std::ranges::all_of(imports, [](const ImportView& import) {
    return import.outcome == ImportOutcome::Succeeded || import.outcome == ImportOutcome::Gone;
  });
  return all ? kOk : kFailed;
}

Result<std::vector<ImportView>> follow(Context& context, kube::Reader& reader,
                                       const std::vector<kube::ObjectKey>& imports,
                                       std::optional<std::chrono::milliseconds> blocked_limit) {
  const embedded::Home home = TRY(context.home());
  Screen screen(context.out, context.terminal);
  BlockedTimer blocked(blocked_limit);
  while (true) {
    std::vector<ImportView> views = TRY(load_views(reader, home, imports, context.stop));
    screen.show(views);
    bool all_ended = true;
    for (const ImportView& view : views) {
      const bool gave_up = blocked.expired(view, context.clock.steady());
      all_ended = all_ended && (view.ended() || gave_up);
    }
    if (all_ended) return views;
    if (!context.clock.sleep(screen.refresh_every(), context.stop)) {
      return Error(ErrorKind::Canceled,
                   "stopped watching; the imports go on while vmferry up runs");
    }
  }
}

}  // namespace vmferry::cli
