// What all commands share of the command line: global options, usage errors, the help's end.
#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/copy_arguments.h"

namespace vmferry::cli {

void add_global_options(CLI::App& app, Context& context) {
  app.add_option("--home", context.home_flag,
                 "directory of this installation (default: $VMFERRY_HOME, else "
                 "~/.local/share/vmferry)")
      ->type_name("DIR");
  app.add_option("-n,--namespace", context.ns, "namespace of the objects")
      ->type_name("NAME")
      ->capture_default_str();
  app.require_subcommand(1);
  app.fallthrough();  // --home and -n may stand behind the command, too
  app.footer(std::string(kExitCodeHelp) +
             "\n\nExamples:\n"
             "  vmferry import -f vm.yaml                 start, copy, watch, report\n"
             "  vmferry up --agents 3                     run coordinator and agents until Ctrl-C\n"
             "  vmferry apply -f vm.yaml && vmferry watch\n"
             "  vmferry copy nbd://host/disk disk.img     one disk, without anything else\n");
}

int parse_and_run(CLI::App& app, Context& context, int argc, const char* const* argv) {
  try {
    std::vector<std::string> words(argv + 1, argv + argc);
    words = shield_bracketed(std::move(words));
    std::ranges::reverse(words);  // as CLI11 wants them
    app.parse(std::move(words));
  } catch (const CLI::ParseError& failure) {
    const bool help = failure.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
    if (!help) {
      context.err << "error: " << failure.what()
                  << "\n  remedy: see 'vmferry --help' or 'vmferry COMMAND --help'\n";
      return kBadInput;
    }
    app.exit(failure, context.out, context.err);
    return kOk;
  }
  context.out.flush();
  return context.exit_code;
}

}  // namespace vmferry::cli
