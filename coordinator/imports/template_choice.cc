#include "coordinator/imports/template_choice.h"

#include "common/catalogue.h"
#include "coordinator/imports/preferences.h"
#include "coordinator/imports/template_search.h"

namespace vmferry::imports {

namespace {

TemplateSearch search_of(const BaseInput& input) {
  TemplateSearch search;
  search.namespaces = input.facts.template_namespaces;
  if (!input.config.default_linux.empty()) search.generic_linux = input.config.default_linux;
  if (!input.config.default_windows.empty()) search.generic_windows = input.config.default_windows;
  return search;
}

// An empty VM that a preference completes: devices, firmware and clock as the OS likes them. What
// the source determines stands in the VM and wins.
std::optional<BaseVm> preferred_base(const BaseInput& input, const OsMatch& match,
                                     const std::string& vm_name) {
  if (!input.config.use_preferences) return std::nullopt;
  const kube::Object* preference = find_preference(input.facts.preferences, match.os);
  if (preference == nullptr) return std::nullopt;
  BaseVm base{.object = empty_base_vm(vm_name),
              .os = match.os,
              .os_why = match.why,
              .note = fmt::format("preference '{}' is made for '{}'", preference->name(), match.os),
              .template_object = {},
              .instancetype = {}};
  base.object.json()["spec"]["preference"] = {{"kind", preference->kind()},
                                              {"name", preference->name()}};
  if (const kube::Object* size = find_instancetype(input.facts.instancetypes, input.vm)) {
    base.instancetype = size->name();
    base.note += fmt::format(", instance type '{}' has the source's size", size->name());
  }
  return base;
}

}  // namespace

Result<OsMatch> decide_os(const BaseInput& input) {
  if (input.os_maps.problem) return *input.os_maps.problem;
  return match_os(input.vm, input.os_maps.maps);
}

Result<TemplateMatch> choose_template(const BaseInput& input, const std::string& os) {
  const TemplateSearch search = search_of(input);
  auto match = find_template(input.facts.templates, os, input.vm, search);
  if (match || match.error().kind() != ErrorKind::NotFound) return match;
  if (!input.config.builtin_templates.value_or(!input.facts.has_template_api)) return match;
  auto builtin = find_template(builtin_templates(), os, input.vm, search);
  if (!builtin) return match;  // it names what the cluster lacks
  builtin->why = "built-in " + builtin->why;
  return builtin;
}

Result<BaseVm> choose_base(const BaseInput& input, const std::string& vm_name) {
  const Result<OsMatch> os = decide_os(input);
  Error why = make_error(ErrorKind::NotFound, "no template");
  if (os) {
    if (auto preferred = preferred_base(input, *os, vm_name)) return *std::move(preferred);
    auto match = choose_template(input, os->os);
    if (match) {
      auto processed = process_template(*match, vm_name);
      if (processed) {
        return BaseVm{.object = *std::move(processed),
                      .os = os->os,
                      .os_why = os->why,
                      .note = match->why,
                      .template_object = std::move(match->object),
                      .instancetype = {}};
      }
      why = std::move(processed).error();
    } else {
      why = std::move(match).error();
    }
  } else {
    why = os.error();
  }
  if (!input.config.import_without_template) return std::move(why).with_code(code::kTemplate);
  return BaseVm{.object = empty_base_vm(vm_name),
                .os = os ? os->os : "",
                .os_why = os ? os->why : os.error().message(),
                .note = "no template: " + why.message(),
                .template_object = {},
                .instancetype = {}};
}

}  // namespace vmferry::imports
