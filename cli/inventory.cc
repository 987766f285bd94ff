#include <unistd.h>

#include <ostream>

#include "cli/commands.h"
#include "cli/listing_text.h"
#include "cli/source_secret.h"
#include "cli/waiting_note.h"
#include "common/http_client.h"

namespace vmferry::cli {
namespace {

struct InventoryFlags {
  std::string kind, secret, name, output;
};

Result<int> run_inventory(Context& context, const InventoryFlags& flags) {
  const OutputForm form = TRY(parse_output_form(flags.output));
  const ListingKind kind = TRY(parse_listing_kind(flags.kind));
  const ProviderCredentials credentials = TRY(load_source_secret(context, flags.secret));
  const auto provider = TRY(make_provider(credentials, context.log));
  auto read = [&]() -> Result<Listing> {
    const WaitingNote note(
        context.err, ::isatty(STDERR_FILENO) == 1,
        fmt::format("reading {} of {}", to_string(kind), redacted_url(credentials.api_url)),
        context.clock);
    return provider->list(kind, context.stop);
  }();
  provider->close();
  const std::size_t all = read ? read->rows.size() : 0;
  const Listing listing = filtered(TRY(std::move(read)), flags.name);
  const bool table = form == OutputForm::Table || form == OutputForm::Wide;
  if (listing.rows.empty() && table) {
    context.err << (all == 0
                        ? fmt::format("the source has no {}, or this account may not see them",
                                      to_string(kind))
                        : fmt::format("none of {} {} fits '{}'", all, to_string(kind), flags.name))
                << '\n';
    return kOk;
  }
  context.out << listing_text(listing, credentials.kind, kind, form);
  return kOk;
}

}  // namespace

void add_inventory(CLI::App& app, Context& context) {
  auto flags = std::make_shared<InventoryFlags>();
  CLI::App* command = app.add_subcommand(
      "inventory", "List what a source has: VMs, disks, networks, storage; changes nothing");
  command
      ->add_option("KIND", flags->kind,
                   "vms, disks, networks, datastores; of oVirt also vnicprofiles and clusters")
      ->required();
  command
      ->add_option("--secret", flags->secret,
                   "file with the source's Secret, - for standard input, or the name of one that "
                   "was applied")
      ->required()
      ->type_name("FILE|NAME");
  command->add_option("--name", flags->name, "only what fits: * any text, ? any character")
      ->type_name("GLOB");
  command->add_option("-o,--output", flags->output, "wide, yaml, json or name");
  command->footer(
      "Ids, names and paths are those that an import's source and its mappings take. A name "
      "pattern\n"
      "is also tried on an object's path and on a disk's VM.\n\n"
      "Examples:\n"
      "  vmferry inventory vms --secret examples/secret-vmware.yaml\n"
      "  vmferry inventory disks --secret vmware-credentials --name 'web*' -o wide\n"
      "  vmferry inventory networks --secret secret.yaml -o json | jq -r '.items[].name'\n");
  on_run(*command, context, [&context, flags] { return run_inventory(context, *flags); });
}

}  // namespace vmferry::cli
