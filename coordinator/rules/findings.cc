#include "coordinator/rules/findings.h"

namespace vmferry::rules {

namespace {

std::string filled(std::string_view text, const Words& words,
                   const std::vector<std::string>& values) {
  std::string result;
  while (true) {
    const std::size_t open = text.find('{');
    const std::size_t close = open == text.npos ? text.npos : text.find('}', open);
    if (close == text.npos) return result.append(text);
    result.append(text.substr(0, open));
    const std::size_t index = words.index_of(text.substr(open + 1, close - open - 1));
    if (index < values.size()) result += values[index];
    text.remove_prefix(close + 1);
  }
}

}  // namespace

Finding make_finding(const Rule& rule, const std::vector<std::string>& values) {
  const Words words = words_of(rule);
  return {.rule = std::string(rule.id),
          .level = rule.level,
          .group = rule.group,
          .text = filled(rule.text, words, values),
          .remedy = filled(rule.remedy, words, values)};
}

}  // namespace vmferry::rules
