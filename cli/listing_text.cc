#include "cli/listing_text.h"

#include <fnmatch.h>

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

#include "cli/table.h"
#include "common/bytes.h"
#include "coordinator/api/manifest.h"

namespace vmferry::cli {
namespace {

using nlohmann::json;

constexpr ListingKind kKinds[] = {ListingKind::Vms,          ListingKind::Disks,
                                  ListingKind::Networks,     ListingKind::Datastores,
                                  ListingKind::VnicProfiles, ListingKind::Clusters};

// "guestOs" -> "GUEST OS".
std::string title_of(const std::string& column) {
  std::string title;
  for (const char c : column) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isupper(byte) != 0 && !title.empty()) title += ' ';
    title += static_cast<char>(std::toupper(byte));
  }
  return title;
}

std::string cell_text(const ListingCell& cell, CellType type) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* flag = std::get_if<bool>(&cell)) return *flag ? "yes" : "no";
  if (const auto* number = std::get_if<std::uint64_t>(&cell)) {
    return type == CellType::Bytes ? human_bytes(*number) : fmt::format("{}", *number);
  }
  return "";
}

json cell_json(const ListingCell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* flag = std::get_if<bool>(&cell)) return *flag;
  if (const auto* number = std::get_if<std::uint64_t>(&cell)) return *number;
  return nullptr;
}

bool fits(const ListingCell& cell, const std::string& pattern) {
  const auto* text = std::get_if<std::string>(&cell);
  return text != nullptr && ::fnmatch(pattern.c_str(), text->c_str(), FNM_CASEFOLD) == 0;
}

std::string table_text(const Listing& listing, bool wide) {
  std::vector<std::string> titles;
  for (const ListingColumn& column : listing.columns) {
    if (wide || !column.wide) titles.push_back(title_of(column.name));
  }
  Table table(std::move(titles));
  for (const auto& row : listing.rows) {
    std::vector<std::string> cells;
    for (std::size_t i = 0; i < listing.columns.size() && i < row.size(); ++i) {
      const ListingColumn& column = listing.columns[i];
      if (wide || !column.wide) cells.push_back(cell_text(row[i], column.type));
    }
    table.add(std::move(cells));
  }
  return table.text();
}

json listing_json(const Listing& listing, ProviderKind provider, ListingKind kind) {
  json items = json::array();
  for (const auto& row : listing.rows) {
    json item = json::object();
    for (std::size_t i = 0; i < listing.columns.size() && i < row.size(); ++i) {
      item[listing.columns[i].name] = cell_json(row[i]);
    }
    items.push_back(std::move(item));
  }
  return {{"provider", to_string(provider)}, {"kind", to_string(kind)}, {"items", items}};
}

}  // namespace

Result<ListingKind> parse_listing_kind(std::string_view text) {
  std::string known;
  for (const ListingKind kind : kKinds) {
    const std::string_view plural = to_string(kind);
    if (text == plural || text == plural.substr(0, plural.size() - 1)) return kind;
    known += (known.empty() ? "" : ", ") + std::string(plural);
  }
  if (text == "storagedomains" || text == "storagedomain") return ListingKind::Datastores;
  return make_error(ErrorKind::InvalidArgument, "'{}' is nothing to list; known are {}", text,
                    known);
}

Listing filtered(Listing listing, const std::string& pattern) {
  if (pattern.empty()) return listing;
  std::vector<std::size_t> columns;
  for (std::size_t i = 0; i < listing.columns.size(); ++i) {
    const std::string& name = listing.columns[i].name;
    if (name == "name" || name == "vm" || name == "path") columns.push_back(i);
  }
  std::erase_if(listing.rows, [&](const std::vector<ListingCell>& row) {
    return std::ranges::none_of(
        columns, [&](std::size_t i) { return i < row.size() && fits(row[i], pattern); });
  });
  return listing;
}

std::string listing_text(const Listing& listing, ProviderKind provider, ListingKind kind,
                         OutputForm form) {
  switch (form) {
    case OutputForm::Table:
    case OutputForm::Wide:
      return table_text(listing, form == OutputForm::Wide);
    case OutputForm::Json:
      return listing_json(listing, provider, kind)
                 .dump(2, ' ', false, json::error_handler_t::replace) +
             "\n";
    case OutputForm::Yaml:
      return api::to_yaml(kube::Object(listing_json(listing, provider, kind)));
    case OutputForm::Name:
      break;
  }
  std::string names;
  for (const auto& row : listing.rows) {
    if (row.size() > 1) names += printable(cell_text(row[1], CellType::Text)) + "\n";
  }
  return names;
}

}  // namespace vmferry::cli
