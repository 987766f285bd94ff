#include <ostream>

#include "cli/commands.h"
#include "cli/table.h"
#include "common/catalogue.h"

namespace vmferry::cli {
namespace {

Result<int> run_explain(Context& context, const std::string& name) {
  if (name.empty()) {
    Table table({"CODE", "CAUSE"});
    for (const CatalogueEntry& entry : error_catalogue()) {
      table.add({std::string(entry.code), std::string(entry.cause)});
    }
    context.out << table.text();
    return kOk;
  }
  const auto entry = find_catalogue_entry(name);
  if (!entry) {
    return make_error(ErrorKind::InvalidArgument,
                      "'{}' is not a code of the catalogue; 'vmferry explain' lists all", name);
  }
  context.out << entry->code << "\n  cause:  " << entry->cause << "\n  remedy: " << entry->remedy
              << '\n';
  return kOk;
}

}  // namespace

void add_explain(CLI::App& app, Context& context) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("explain", "Tell cause and remedy of an error code");
  command->add_option("CODE", *name, "as printed with an error; without it all codes are listed");
  command->footer("Examples:\n  vmferry explain\n  vmferry explain VMF-SRC-AUTH\n");
  on_run(*command, context, [&context, name] { return run_explain(context, *name); });
}

}  // namespace vmferry::cli
