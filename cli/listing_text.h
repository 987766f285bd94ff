#pragma once

#include <string>
#include <string_view>

#include "cli/object_output.h"
#include "common/result.h"
#include "coordinator/provider/provider.h"

// What `vmferry inventory` prints, pure.
namespace vmferry::cli {

// "vms", "vm", "storagedomains", ...; InvalidArgument lists the kinds.
Result<ListingKind> parse_listing_kind(std::string_view text);

// Only the rows whose name, or whose VM's name or path, fits the pattern: * any text, ? any
// character, [abc] one of them; letters of either case.
Listing filtered(Listing listing, const std::string& pattern);

// A table with titles in capitals ("GUEST OS"), sizes for people and "-" for what the source does
// not say; or {"provider": "vmware", "kind": "vms", "items": [{column: value}]} as JSON or YAML,
// with sizes in bytes and null; or with Name the names alone, a line each.
std::string listing_text(const Listing& listing, ProviderKind provider, ListingKind kind,
                         OutputForm form);

}  // namespace vmferry::cli
