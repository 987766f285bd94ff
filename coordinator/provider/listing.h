#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace vmferry {

// What `vmferry inventory` can ask a source for. VnicProfiles and Clusters exist on oVirt alone;
// Datastores are storage domains there.
enum class ListingKind { Vms, Disks, Networks, Datastores, VnicProfiles, Clusters };

std::string_view to_string(ListingKind kind);

// How a column's cells read: Bytes are shown as "12 GiB" in tables and as numbers in JSON.
enum class CellType { Text, Bytes, Count, YesNo };

struct ListingColumn {
  std::string name;  // lowerCamelCase, the key in JSON; tables show it in capitals
  CellType type = CellType::Text;
  bool wide = false;  // only with -o wide, json and yaml
  friend bool operator==(const ListingColumn&, const ListingColumn&) = default;
};

// Text for Text, std::uint64_t for Bytes and Count, bool for YesNo; monostate where the source does
// not say.
using ListingCell = std::variant<std::monostate, std::string, std::uint64_t, bool>;

// A source's objects as a table. Every listing has the columns `id` and `name` first, then what
// tells objects of the same name apart (path, cluster, ...); rows are sorted by name, then id, and
// every row has one cell a column. Names are what a ResourceMapping or a VirtualMachineImport
// takes.
struct Listing {
  std::vector<ListingColumn> columns;
  std::vector<std::vector<ListingCell>> rows;
  friend bool operator==(const Listing&, const Listing&) = default;
};

}  // namespace vmferry
