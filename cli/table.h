#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vmferry::cli {

// Rows of text in aligned columns, as kubectl prints them: upper-case titles, two spaces between,
// nothing behind the last cell. Widths count characters, not bytes.
class Table {
 public:
  explicit Table(std::vector<std::string> titles) : titles_(std::move(titles)) {}
  // Missing cells are empty; an empty cell prints as "-".
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  std::string text(std::string_view indent = "") const;

 private:
  std::vector<std::string> titles_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters of UTF-8 text (code points); malformed bytes count one each.
std::size_t text_width(std::string_view text);
// At most `width` characters; what is cut ends in "…". Control characters become spaces: names and
// messages come from outside and must not move the cursor.
std::string fitted(std::string_view text, std::size_t width);
std::string printable(std::string_view text);
// `text` in lines of at most `width` characters, broken at spaces, each behind `indent`.
std::string wrapped(std::string_view text, std::size_t width, std::string_view indent);

}  // namespace vmferry::cli
