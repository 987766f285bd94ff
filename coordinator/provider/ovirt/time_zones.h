#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"

// Time zones as oVirt names them: of the tz database for most guests, of Windows for Windows.
namespace vmferry::ovirt {

// The tz database's name of a zone: its own names as they are, Windows names translated. Nothing
// for a Windows name that is not known.
std::optional<std::string> iana_zone(std::string_view name);

// Whether a guest's clock in this zone equals UTC (validation.md 2.2): offset zero at `now` and no
// change in the current and the next year. An empty name is UTC; a name that nobody knows is not.
// Reads the zone from `database`, the system's directory of compiled zones.
bool is_utc_compatible(std::string_view zone, WallTime now,
                       const std::string& database = "/usr/share/zoneinfo");

// The same decision on the content of one compiled zone (RFC 9636). Pure, for any bytes.
bool is_utc_zone_data(std::string_view tzif, WallTime now);

}  // namespace vmferry::ovirt
