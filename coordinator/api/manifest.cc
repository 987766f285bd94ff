#include "coordinator/api/manifest.h"

#include <cctype>

#include "common/catalogue.h"
#include "coordinator/api/yaml.h"

namespace vmferry::api {
namespace {

using nlohmann::json;

std::string lower_first(std::string text) {
  if (!text.empty()) {
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  }
  return text;
}

// Reads one object's shorthand, with a note for each.
class Leniency {
 public:
  explicit Leniency(std::vector<std::string>& notes) : notes_(notes) {}

  void apply(json& object) {
    lower_keys(object, "", /*deep=*/false);
    if (object.contains("metadata")) lower_keys(object["metadata"], "metadata", /*deep=*/false);
    const kube::Object parsed(object);
    const kube::ResourceType* type = kube::find_type(parsed.api_version(), parsed.kind());
    // Only our kinds have the shorthand; in others a capital may be meant.
    const bool is_import = type == &kube::types::kVirtualMachineImport;
    if (!is_import && type != &kube::types::kResourceMapping) return;
    if (!object.contains("spec") || !object["spec"].is_object()) return;
    lower_keys(object["spec"], "spec", /*deep=*/true);
    for (const char* provider : {"ovirt", "vmware"}) {
      json* section = child(object["spec"], is_import ? "source" : provider);
      std::string path = is_import ? "spec.source" : std::string("spec.") + provider;
      if (is_import && section != nullptr) {
        section = child(*section, provider);
        if (section != nullptr) section = child(*section, "mappings");
        path += std::string(".") + provider + ".mappings";
      }
      if (section != nullptr) read_mappings(*section, path);
    }
  }

 private:
  static json* child(json& object, const char* name) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
  }

  void lower_keys(json& value, const std::string& path, bool deep) {
    if (value.is_array() && deep) {
      for (json& item : value) lower_keys(item, path + "[]", deep);
    }
    if (!value.is_object()) return;
    std::vector<std::string> keys;
    for (const auto& item : value.items()) keys.push_back(item.key());
    for (const std::string& key : keys) {
      const std::string lower = lower_first(key);
      if (lower == key || value.contains(lower)) continue;
      value[lower] = std::move(value[key]);
      value.erase(key);
      note("'{}{}{}' was read as '{}'", path, path.empty() ? "" : ".", key, lower);
    }
    if (!deep) return;
    for (const auto& item : value.items()) {
      lower_keys(item.value(), path + "." + item.key(), deep);
    }
  }

  void read_mappings(json& mappings, const std::string& path) {
    for (const char* name : {"networkMappings", "storageMappings", "diskMappings"}) {
      json* list = child(mappings, name);
      if (list == nullptr || !list->is_array()) continue;
      for (std::size_t i = 0; i < list->size(); ++i) {
        read_item((*list)[i], fmt::format("{}.{}[{}]", path, name, i));
      }
    }
  }

  void read_item(json& item, const std::string& path) {
    json* source = child(item, "source");
    if (source != nullptr && source->is_object()) {
      for (const char* name : {"target", "type"}) {
        if (!source->contains(name) || item.contains(name)) continue;
        item[name] = (*source)[name];
        source = child(item, "source");  // the insertion may have moved it
        source->erase(name);
        note("'{}.source.{}' was read as '{}.{}'", path, name, path, name);
      }
    }
    json* target = child(item, "target");
    if (target != nullptr && target->is_string()) {
      note("'{}.target: {}' was read as 'target: {{name: {}}}'", path, target->get<std::string>(),
           target->get<std::string>());
      *target = json{{"name", *target}};
    }
  }

  template <typename... Args>
  void note(fmt::format_string<Args...> text, Args&&... args) {
    notes_.push_back(fmt::format(text, std::forward<Args>(args)...));
  }

  std::vector<std::string>& notes_;
};

Result<void> add(json value, const std::string& origin, const std::string& default_ns,
                 std::vector<ManifestObject>& objects) {
  const auto refuse = [&](std::string_view what) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest, "{}: {}", origin, what);
  };
  if (!value.is_object()) return refuse("not an object: begin it with apiVersion and kind");
  ManifestObject result{{}, origin, {}};
  Leniency(result.notes).apply(value);
  result.object = kube::Object(std::move(value));
  const std::string kind = result.object.kind();
  const std::string version = result.object.api_version();
  if (kind.empty()) return refuse("has no kind: add one, such as VirtualMachineImport");
  if (version.empty()) return refuse("has no apiVersion: add one, such as v2v.kubevirt.io/v1beta1");
  if (kind == "List" && version == "v1") {
    json items = result.object.json().value("items", json::array());
    if (!items.is_array()) return refuse("items of a List must be a list");
    for (json& item : items) {
      // Not again a List: that would nest without bound.
      if (item.is_object() && item.contains("kind") && item["kind"] == "List") {
        return refuse("a List inside a List: unfold it");
      }
      TRY(add(std::move(item), origin, default_ns, objects));
    }
    return {};
  }
  const kube::ResourceType* type = kube::find_type(version, kind);
  if (type == nullptr) {
    const kube::ResourceType* near = kube::find_type(kind);
    return refuse(fmt::format("{} of {} is not a known kind{}", kind, version,
                              near == nullptr ? ""
                                              : fmt::format(": write kind {} and apiVersion {}",
                                                            near->kind, near->api_version)));
  }
  json& all = result.object.json();
  if (!all.contains("metadata") || !all["metadata"].is_object()) {
    return refuse("has no metadata: add metadata with a name");
  }
  json& metadata = all["metadata"];
  const bool generated = metadata.contains("generateName") && metadata["generateName"].is_string();
  if (metadata.contains("name") ? !metadata["name"].is_string() : !generated) {
    return refuse("metadata.name must be a string: add it, in quotes if it looks like a number");
  }
  if (type->namespaced && (!metadata.contains("namespace") || metadata["namespace"].is_null())) {
    metadata["namespace"] = default_ns;
    result.notes.push_back("no namespace was given: '" + default_ns + "' was taken");
  }
  objects.push_back(std::move(result));
  return {};
}

}  // namespace

Result<std::vector<ManifestObject>> parse_manifests(std::string_view text, const std::string& file,
                                                    const std::string& default_ns) {
  std::vector<YamlDocument> documents = TRY(parse_yaml(text, file));
  std::vector<ManifestObject> objects;
  for (YamlDocument& document : documents) {
    if (document.value.is_null()) continue;
    const std::string origin = fmt::format("{}:{}", file, document.line);
    TRY(add(std::move(document.value), origin, default_ns, objects));
  }
  return objects;
}

}  // namespace vmferry::api
