#include "cli/apply_files.h"

#include <iostream>

#include "cli/manifest_files.h"
#include "cli/object_output.h"
#include "common/catalogue.h"
#include "coordinator/api/import.h"
#include "coordinator/kube/apply.h"

namespace vmferry::cli {
namespace {

const kube::ResourceType* type_of(const kube::Object& object) {
  return kube::find_type(object.api_version(), object.kind());
}

// Fields of our own kinds, as the coordinator will read them.
Result<void> check_fields(const kube::ResourceType& type, const kube::Object& object) {
  if (type == kube::types::kVirtualMachineImport) TRY(api::parse_import(object));
  if (type == kube::types::kResourceMapping) TRY(api::parse_resource_mapping(object));
  return {};
}

// What the store would say to it. An object that exists is patched later: only its parts that a
// create would refuse are judged then.
Result<void> dry_run(kube::Writer& writer, const kube::ResourceType& type,
                     const kube::Object& object, std::stop_token stop) {
  const auto created = writer.create(type, object, {.dry_run = true}, stop);
  if (created) return {};
  if (created.error().kind() != ErrorKind::AlreadyExists) return created.error();
  const auto patched =
      writer.patch(type, object.key(), object.json(), {.dry_run = true}, std::move(stop));
  if (!patched) return patched.error();
  return {};
}

Result<void> check(kube::Writer& writer, const api::ManifestObject& manifest,
                   std::stop_token stop) {
  const kube::Object& object = manifest.object;
  const kube::ResourceType* type = type_of(object);
  if (type == nullptr) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest,
                       "kind {} of {} is none that VMFerry knows", object.kind(),
                       object.api_version());
  }
  if (object.name().empty()) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest, "{} without metadata.name",
                       object.kind());
  }
  const std::string name = object_name(*type, object.name());
  if (auto fields = check_fields(*type, object); !fields) return fields.error().with_context(name);
  if (auto run = dry_run(writer, *type, object, std::move(stop)); !run) {
    return run.error().with_context(name);
  }
  return {};
}

}  // namespace

Result<std::vector<api::ManifestObject>> load_manifests(Context& context, kube::Reader&,
                                                        kube::Writer& writer,
                                                        const std::vector<std::string>& paths) {
  const std::vector<ManifestFile> files = TRY(read_manifest_files(paths, std::cin));
  std::vector<api::ManifestObject> objects;
  std::vector<std::string> problems;
  for (const ManifestFile& file : files) {
    auto parsed = api::parse_manifests(file.text, file.name, context.ns);
    if (!parsed) {
      problems.push_back(parsed.error().message());
      continue;
    }
    for (api::ManifestObject& object : *parsed) objects.push_back(std::move(object));
  }
  for (const api::ManifestObject& object : objects) {
    for (const std::string& note : object.notes) {
      // The reader of manifests may have put the place in front already.
      const bool placed = note.starts_with(object.origin.substr(0, object.origin.rfind(':')));
      context.err << (placed ? note : object.origin + ": " + note) << '\n';
    }
    const auto good = check(writer, object, context.stop);
    if (good) continue;
    const ErrorKind kind = good.error().kind();
    // Everything else is about the store, not about this object.
    if (kind != ErrorKind::InvalidArgument && kind != ErrorKind::NotFound) return good.error();
    problems.push_back(object.origin + ": " + good.error().message());
  }
  if (!problems.empty()) {
    std::string text = problems.front();
    for (std::size_t i = 1; i < problems.size(); ++i) text += "\nerror: " + problems[i];
    return Error(ErrorKind::InvalidArgument, code::kManifest, text + "; nothing was applied");
  }
  if (objects.empty()) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest, "no objects in {}",
                       files.empty() ? "the files" : files.front().name);
  }
  return objects;
}

Result<std::vector<kube::ObjectKey>> apply_manifests(
    Context& context, kube::Reader& reader, kube::Writer& writer,
    const std::vector<api::ManifestObject>& objects) {
  std::vector<kube::ObjectKey> imports;
  for (const api::ManifestObject& manifest : objects) {
    const kube::ResourceType* type = type_of(manifest.object);
    VMFERRY_CHECK(type != nullptr);  // load_manifests saw to it
    const std::string name = object_name(*type, manifest.object.name());
    auto applied = kube::apply(reader, writer, manifest.object, context.stop);
    if (!applied) return applied.error().with_context(manifest.origin + ": " + name);
    context.out << name << ' ' << kube::to_string(applied->applied) << '\n';
    if (*type == kube::types::kVirtualMachineImport) imports.push_back(applied->object.key());
  }
  context.out.flush();
  return imports;
}

}  // namespace vmferry::cli
