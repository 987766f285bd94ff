#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"
#include "coordinator/api/import.h"
#include "coordinator/provider/source_vm.h"

// Names, all pure (mapping-ovirt.md 2, mapping-vmware.md 2).
namespace vmferry::imports {

bool is_dns1123_label(std::string_view text);
bool is_dns1123_subdomain(std::string_view text);
Result<std::string> normalize_name(std::string_view text);   // subdomain; dots of a valid one kept
Result<std::string> normalize_label(std::string_view text);  // label, at most 63
std::string shorten(std::string_view text);                  // upstream's rule, at most 63
// At most 63 like shorten(), but ending in a hash of the whole text: names that differ stay
// different. Used for everything new; shorten() finds what an older release made.
std::string shorten_unique(std::string_view text);
// Any text as a valid label value (may be empty); the exact text belongs into an annotation.
std::string label_value(std::string_view text);
// "1Gi", "1610612736": upstream's FormatBytes.
std::string format_quantity(std::uint64_t bytes);

// spec.targetVmName, else the source's name normalised and shortened (DECISION-M1: what is returned
// is what is validated). InvalidArgument tells which name broke which rule.
Result<std::string> target_vm_name(const api::ImportSpec& spec, const SourceVm& vm);

// The claim's (and DataVolume's) name: stable for an import's UID and the disk.
std::string claim_name(const std::string& import_uid, const SourceVm& vm, const SourceDisk& disk);
// The VM's volume and disk name for a claim.
std::string volume_name(const std::string& claim);

}  // namespace vmferry::imports
