#include "cli/table.h"

#include <algorithm>

namespace vmferry::cli {
namespace {

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

std::size_t text_width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, starts_character));
}

std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) c = ' ';
  }
  return result;
}

std::string fitted(std::string_view text, std::size_t width) {
  std::string whole = printable(text);
  if (text_width(whole) <= width) return whole;
  if (width == 0) return "";
  std::size_t characters = 0;
  std::size_t end = 0;
  while (end < whole.size()) {
    if (starts_character(whole[end]) && ++characters == width) break;
    ++end;
  }
  return whole.substr(0, end) + "…";
}

std::string wrapped(std::string_view text, std::size_t width, std::string_view indent) {
  std::string result;
  std::string line;
  const std::string clean = printable(text);
  std::string_view rest = clean;
  while (!rest.empty()) {
    const std::size_t space = rest.find(' ');
    const std::string_view word = rest.substr(0, space);
    rest = space == std::string_view::npos ? "" : rest.substr(space + 1);
    if (!line.empty() && text_width(line) + 1 + text_width(word) > width) {
      result.append(indent).append(line) += '\n';
      line.clear();
    }
    if (!line.empty() && !word.empty()) line += ' ';
    line += word;
  }
  if (!line.empty()) result.append(indent).append(line) += '\n';
  return result;
}

std::string Table::text(std::string_view indent) const {
  std::vector<std::size_t> widths;
  for (const std::string& title : titles_) widths.push_back(text_width(title));
  const auto cell = [](const std::vector<std::string>& row, std::size_t column) {
    const std::string text = column < row.size() ? printable(row[column]) : "";
    return text.empty() ? std::string("-") : text;
  };
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], text_width(cell(row, i)));
    }
  }
  std::string result;
  const auto add_line = [&](const std::vector<std::string>& row) {
    result += indent;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string text = cell(row, i);
      result += text;
      if (i + 1 < widths.size()) result.append(widths[i] - text_width(text) + 2, ' ');
    }
    result += '\n';
  };
  add_line(titles_);
  for (const auto& row : rows_) add_line(row);
  return result;
}

}  // namespace vmferry::cli
