#include "coordinator/embedded/schema_rules.h"

#include <array>
#include <string>

namespace vmferry::embedded {
namespace {

using nlohmann::json;

bool has_text(const json& value, const char* name) {
  const auto found = value.find(name);
  return found != value.end() && found->is_string() &&
         !found->get_ref<const std::string&>().empty();
}

bool has_one_source(const json& value) {
  return value.contains("ovirt") != value.contains("vmware");
}

bool has_id_or_name(const json& value) { return has_text(value, "id") || has_text(value, "name"); }

struct Rule {
  std::string_view text;
  bool (*holds)(const json& value);
  // What the rule's messageExpression adds to its message.
  std::string (*addition)(const json& value);
};

constexpr auto kRules = std::to_array<Rule>({
    {"has(self.ovirt) != has(self.vmware)", has_one_source,
     [](const json& value) {
       return std::string(value.contains("ovirt") ? "; it has ovirt, vmware" : "; it has none");
     }},
    {"(has(self.id) && size(self.id) > 0) || (has(self.name) && size(self.name) > 0)",
     has_id_or_name, nullptr},
});

const Rule* find_rule(const json& rule) {
  if (!rule.is_object() || !rule.contains("rule") || !rule["rule"].is_string()) return nullptr;
  for (const Rule& known : kRules) {
    if (rule["rule"].get_ref<const std::string&>() == known.text) return &known;
  }
  return nullptr;
}

}  // namespace

Result<void> check_rules_are_known(const json& rules) {
  for (const json& rule : rules) {
    if (find_rule(rule) == nullptr || !rule.contains("message") || !rule["message"].is_string()) {
      return make_error(ErrorKind::InvalidArgument, "cannot enforce the rule {}", rule.dump());
    }
  }
  return {};
}

std::string broken_rule(const json& rule, const json& value) {
  const Rule* known = find_rule(rule);
  if (known == nullptr || known->holds(value)) return "";
  const std::string more = known->addition != nullptr ? known->addition(value) : "";
  return rule.at("message").get<std::string>() + more;
}

}  // namespace vmferry::embedded
