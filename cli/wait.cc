#include <ostream>

#include "cli/commands.h"
#include "cli/duration.h"
#include "cli/import_report.h"
#include "cli/load_views.h"
#include "cli/progress_view.h"
#include "cli/wait_decision.h"
#include "common/catalogue.h"

namespace vmferry::cli {
namespace {

constexpr std::chrono::milliseconds kPoll{250};

struct WaitOptions {
  std::string kind, name;
  std::string wanted = "succeeded";
  std::string timeout = "10m";
};

Result<int> run_wait(Context& context, const WaitOptions& options) {
  const kube::ResourceType* type = kube::find_type(options.kind);
  if (type == nullptr || *type != kube::types::kVirtualMachineImport) {
    return make_error(ErrorKind::InvalidArgument, "wait knows imports only, not '{}'",
                      options.kind);
  }
  const WaitFor wanted = TRY(parse_wait_for(options.wanted));
  const auto timeout = TRY(parse_duration(options.timeout));
  const auto store = TRY(context.open_store());
  const embedded::Home home = TRY(context.home());
  const std::vector<kube::ObjectKey> key{{context.ns, options.name}};
  const SteadyTime end = context.clock.steady() + timeout;
  bool seen = false;
  while (true) {
    const ImportView view = TRY(load_views(*store, home, key, context.stop)).front();
    if (view.outcome == ImportOutcome::Gone && !seen && wanted != WaitFor::Deleted) {
      return coded_error(ErrorKind::NotFound, code::kObjectNotFound, "there is no import '{}'",
                         key.front().to_string());
    }
    seen = true;
    switch (wait_decision(wanted, view)) {
      case WaitDecision::Reached:
        context.out << final_line(view) << '\n';
        return kOk;
      case WaitDecision::Missed:
        context.err << outcome_text(view);
        return kFailed;
      case WaitDecision::GoOn:
        break;
    }
    if (context.clock.steady() >= end) {
      context.err << fmt::format("error: {} not {} within {}: {}\n", key.front().to_string(),
                                 options.wanted, options.timeout, phase_text(view));
      context.err << outcome_text(view);
      return kTimedOut;
    }
    if (!context.clock.sleep(kPoll, context.stop)) {
      return Error(ErrorKind::Canceled, "stopped waiting; the import goes on");
    }
  }
}

}  // namespace

void add_wait(CLI::App& app, Context& context) {
  auto options = std::make_shared<WaitOptions>();
  CLI::App* command = app.add_subcommand("wait", "Wait until an import has ended");
  command->add_option("KIND", options->kind, "import")->required();
  command->add_option("NAME", options->name, "its name")->required();
  command->add_option("--for", options->wanted, "succeeded, failed or deleted")
      ->capture_default_str();
  command->add_option("--timeout", options->timeout, "90s, 10m, 1h30m")->capture_default_str();
  command->footer(
      "Exit codes: 0 reached; 1 ended otherwise (reason and remedy on stderr); 2 timeout; 3 bad\n"
      "input.\n\nExamples:\n"
      "  vmferry wait import web01\n"
      "  vmferry wait import web01 --for=deleted --timeout 2m\n");
  on_run(*command, context, [&context, options] { return run_wait(context, *options); });
}

}  // namespace vmferry::cli
