#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "coordinator/provider/source_vm.h"
#include "coordinator/rules/table.h"

// Raising findings. The tables alone say level, condition and texts of one; who raises it names the
// rule and gives the words of its texts. A name that no table has, and a wrong number of words, are
// errors at compile time.
namespace vmferry::rules {

// Not constexpr: a call of them while compiling is the error message.
void there_is_no_such_rule();
void the_rule_has_another_number_of_words();

// "vm.usb", or with one of its forms: "vmware.disk.rdm/virtual".
template <typename... Values>
class RuleName {
 public:
  consteval RuleName(const char* name) {  // NOLINT(google-explicit-constructor): used as a literal
    const std::string_view text(name);
    const std::size_t slash = std::min(text.find('/'), text.size());
    rule_ = find_rule(text.substr(0, slash), text.substr(std::min(slash + 1, text.size())));
    if (rule_ == nullptr) {
      there_is_no_such_rule();
    } else if (words_of(*rule_).count != sizeof...(Values)) {
      the_rule_has_another_number_of_words();
    }
  }
  constexpr const Rule& rule() const { return *rule_; }

 private:
  const Rule* rule_;
};
template <typename... Values>
using Named = std::type_identity_t<RuleName<Values...>>;

// The finding with its words filled in, each value as it is.
Finding make_finding(const Rule& rule, const std::vector<std::string>& values);

template <typename... Values>
Finding finding(Named<Values...> name, const Values&... values) {
  return make_finding(name.rule(), {fmt::format("{}", values)...});
}

// The rule that has an id of its own for each provider.
template <typename... Values>
Finding finding_of(ProviderKind provider, Named<Values...> ovirt, Named<Values...> vmware,
                   const Values&... values) {
  return make_finding((provider == ProviderKind::Ovirt ? ovirt : vmware).rule(),
                      {fmt::format("{}", values)...});
}

class Findings {
 public:
  template <typename... Values>
  void add(Named<Values...> name, const Values&... values) {
    list_.push_back(make_finding(name.rule(), {fmt::format("{}", values)...}));
  }
  template <typename... Values>
  void add_of(ProviderKind provider, Named<Values...> ovirt, Named<Values...> vmware,
              const Values&... values) {
    list_.push_back(finding_of<Values...>(provider, ovirt, vmware, values...));
  }
  std::vector<Finding> take() { return std::move(list_); }

 private:
  std::vector<Finding> list_;
};

}  // namespace vmferry::rules
