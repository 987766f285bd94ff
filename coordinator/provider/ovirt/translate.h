#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "coordinator/provider/ovirt/model.h"
#include "coordinator/provider/source_vm.h"

// From the engine's words to the neutral VM (mapping-ovirt.md 1-6). Pure and total.
namespace vmferry::ovirt {

// Everything but the findings, which rules.h adds.
SourceVm translate(const Vm& vm);

PowerState power_state_of(std::string_view status);

// "+01:00" is 3600; nothing for any other form (mapping-ovirt.md 4).
std::optional<int> parse_utc_offset(std::string_view text);

// Every pin names one host CPU and no two the same, and there is at least one pin.
bool is_exactly_pinned(const Cpu& cpu);

// Why the disk cannot be read through an image transfer whatever one waits for; empty if it can.
std::string why_not_transferable(const Disk& disk);

// Keys of SourceDisk::details.
inline constexpr std::string_view kDetailImageId = "image_id";
inline constexpr std::string_view kDetailFormat = "format";

}  // namespace vmferry::ovirt
