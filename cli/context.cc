#include "cli/context.h"

#include <ostream>

#include "common/catalogue.h"

namespace vmferry::cli {

Result<std::unique_ptr<embedded::Store>> Context::open_store() const {
  const embedded::Home where = TRY(home());
  TRY(where.prepare());
  return embedded::Store::open(where.store(), clock);
}

void Context::finish(Result<int> outcome) {
  if (outcome) {
    exit_code = *outcome;
    return;
  }
  out.flush();
  err << error_text(outcome.error()) << std::flush;
  exit_code = exit_code_of(outcome.error());
}

void on_run(CLI::App& command, Context& context, std::function<Result<int>()> action) {
  command.callback([&context, action = std::move(action)] { context.finish(action()); });
}

std::string error_text(const Error& error) {
  std::string text = "error: " + error.message();
  if (!error.code().empty()) text += fmt::format(" [{}]", error.code());
  text += '\n';
  if (const auto entry = find_catalogue_entry(error.code())) {
    text += fmt::format("  remedy: {}\n", entry->remedy);
  }
  return text;
}

int exit_code_of(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::Canceled:
      return kInterrupted;
    case ErrorKind::InvalidArgument:
      return kBadInput;
    default:
      return kFailed;
  }
}

}  // namespace vmferry::cli
