#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <stop_token>
#include <string>

#include <CLI/App.hpp>

#include "cli/exit_code.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/result.h"
#include "coordinator/embedded/home.h"
#include "coordinator/embedded/store.h"

namespace vmferry::cli {

// What every command works with: where to print, where the objects are, how it is stopped. One per
// process; main fills it, tests fill it with string streams and a temporary home.
struct Context {
  std::ostream& out;
  std::ostream& err;
  const Clock& clock;
  std::stop_token stop;  // SIGINT, SIGTERM
  Logger log;
  bool terminal = false;  // `out` is one: live views may move the cursor

  std::string home_flag = {};  // --home
  std::string ns = "default";  // --namespace
  int exit_code = kOk;

  Result<embedded::Home> home() const { return embedded::Home::find(home_flag); }
  // The home's object store, opened directly: it works whether or not a coordinator runs.
  Result<std::unique_ptr<embedded::Store>> open_store() const;
  // Sets exit_code; prints an error as "error: ..." with its remedy.
  void finish(Result<int> outcome);
};

// A subcommand that runs `action` when it is the one chosen. CLI11 runs it after parsing.
void on_run(CLI::App& command, Context& context, std::function<Result<int>()> action);

// "error: <message> [CODE]\n  remedy: <what to do>\n"; the remedy comes from the catalogue.
std::string error_text(const Error& error);
// kInterrupted for Canceled, kBadInput for what the user typed or wrote, kFailed for the rest.
int exit_code_of(const Error& error);

}  // namespace vmferry::cli
