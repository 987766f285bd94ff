#include <algorithm>
#include <ostream>

#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/load_views.h"
#include "cli/progress_view.h"
#include "common/catalogue.h"

namespace vmferry::cli {
namespace {

struct WatchOptions {
  std::vector<std::string> names;
  bool all_namespaces = false;
};

Result<int> run_watch(Context& context, const WatchOptions& options) {
  const auto store = TRY(context.open_store());
  const std::string ns = options.all_namespaces ? "" : context.ns;
  const embedded::Home home = TRY(context.home());
  const auto found = TRY(load_views(*store, home, ns, options.names, context.stop));
  std::vector<kube::ObjectKey> keys;
  for (const ImportView& view : found) keys.push_back(view.key);
  for (const std::string& name : options.names) {
    if (std::ranges::find(found, name, [](const ImportView& view) { return view.key.name; }) ==
        found.end()) {
      return coded_error(ErrorKind::NotFound, code::kObjectNotFound,
                         "there is no import '{}' in namespace '{}'", name, context.ns);
    }
  }
  if (keys.empty()) {
    return coded_error(ErrorKind::NotFound, code::kObjectNotFound, "there is no import {}",
                       options.all_namespaces ? "in any namespace" : "in namespace '" + ns + "'");
  }
  const auto views = TRY(follow(context, *store, keys, std::nullopt));
  context.out << '\n';
  for (const ImportView& view : views) context.out << final_line(view) << '\n';
  return exit_code_of(views);
}

}  // namespace

void add_watch(CLI::App& app, Context& context) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command = app.add_subcommand("watch", "Show the progress of imports until they end");
  command->add_option("NAME", options->names, "imports (default: all of the namespace)");
  command->add_flag("-A,--all-namespaces", options->all_namespaces, "imports of every namespace");
  command->footer(
      "Exits with 0 when all have succeeded and with 1 when one has failed. Ctrl-C ends the view,\n"
      "not the imports.\n\nExamples:\n  vmferry watch\n  vmferry watch web01 db01\n");
  on_run(*command, context, [&context, options] { return run_watch(context, *options); });
}

}  // namespace vmferry::cli
