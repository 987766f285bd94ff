#pragma once

#include <optional>
#include <string_view>

namespace vmferry::ovirt {

// The tz database's zone of a Windows zone name; nothing for a name that Windows does not have.
std::optional<std::string_view> zone_of_windows(std::string_view name);

}  // namespace vmferry::ovirt
