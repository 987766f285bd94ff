#include <ostream>

#include "cli/commands.h"
#include "common/protocol.h"

namespace vmferry::cli {
namespace {

constexpr const char* kVersion = VMFERRY_VERSION;  // CMakeLists.txt's

}  // namespace

void add_version(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("version", "Print the version");
  command->footer("Example:\n  vmferry version\n");
  on_run(*command, context, [&context]() -> Result<int> {
    context.out << "vmferry " << kVersion << " (agent protocol " << protocol::kVersion << ")\n";
    return kOk;
  });
}

}  // namespace vmferry::cli
