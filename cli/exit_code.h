#pragma once

namespace vmferry::cli {

// What every command ends with; printed in the help so that scripts can rely on it.
inline constexpr int kOk = 0;        // done, or what was waited for was reached
inline constexpr int kFailed = 1;    // it failed, or ended otherwise than asked for
inline constexpr int kTimedOut = 2;  // the time given with --timeout is over
inline constexpr int kBadInput = 3;  // arguments, files or manifests are wrong; nothing was done
inline constexpr int kInterrupted = 130;  // SIGINT or SIGTERM

inline constexpr const char* kExitCodeHelp =
    "Exit codes: 0 done, 1 failed, 2 timeout, 3 bad input (nothing was changed), 130 interrupted.";

}  // namespace vmferry::cli
