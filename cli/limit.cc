#include <ostream>

#include "cli/commands.h"
#include "cli/telemetry.h"
#include "common/bytes.h"

namespace vmferry::cli {
namespace {

Result<int> run_limit(Context& context, const std::string& rate) {
  const std::uint64_t limit = rate == "off" ? 0 : TRY(parse_size(rate));
  const embedded::Home home = TRY(context.home());
  Telemetry telemetry = TRY(Telemetry::connect(home));
  TRY(telemetry.set_limit(limit, context.stop));
  context.out << (limit == 0 ? "every agent: no limit"
                             : "every agent: at most " + human_rate(static_cast<double>(limit)))
              << '\n';
  return kOk;
}

}  // namespace

void add_limit(CLI::App& app, Context& context) {
  auto rate = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("limit", "Change the bandwidth limit of every running agent, at once");
  command->add_option("RATE", *rate, "bytes per second: 200M, 1.5G; 0 or off: no limit")
      ->required();
  command->footer(
      "Needs a running coordinator (vmferry up).\n\nExamples:\n"
      "  vmferry limit 200M\n  vmferry limit off\n");
  on_run(*command, context, [&context, rate] { return run_limit(context, *rate); });
}

}  // namespace vmferry::cli
