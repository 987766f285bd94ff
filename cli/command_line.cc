// What all commands share of the command line: global options, usage errors, the help's end.
#include <algorithm>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/copy_arguments.h"

namespace vmferry::cli {

namespace {

// Help texts speak of "vmferry COMMAND"; under another name they say what is to be typed there.
std::string as_typed(std::string text, const std::string& name) {
  constexpr std::string_view kPlain = "vmferry ";
  if (name + " " == kPlain) return text;
  for (std::size_t at = 0; (at = text.find(kPlain, at)) != std::string::npos;) {
    const bool is_word = at == 0 || text[at - 1] == ' ' || text[at - 1] == '\'';
    const bool is_named = at >= 8 && text.compare(at - 8, 8, "kubectl ") == 0;
    if (is_word && !is_named) text.replace(at, kPlain.size(), name + " ");
    at += is_word && !is_named ? name.size() + 1 : kPlain.size();
  }
  return text;
}

}  // namespace

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
                  << as_typed("\n  remedy: see 'vmferry --help' or 'vmferry COMMAND --help'\n",
                              app.get_name());
      return kBadInput;
    }
    std::ostringstream text;
    app.exit(failure, text, context.err);
    context.out << as_typed(text.str(), app.get_name());
    return kOk;
  }
  context.out.flush();
  return context.exit_code;
}

}  // namespace vmferry::cli
