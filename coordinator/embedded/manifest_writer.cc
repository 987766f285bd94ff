#include "coordinator/embedded/manifest_writer.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "common/fd.h"
#include "coordinator/api/manifest.h"

namespace vmferry::embedded {
namespace {

constexpr const char* kPathAnnotation = "vmferry.io/path";  // on a claim: its data's file or device

std::vector<std::string> claims_of(const kube::Object& vm) {
  std::vector<std::string> names;
  const auto volumes =
      vm.json().value("/spec/template/spec/volumes"_json_pointer, nlohmann::json::array());
  for (const auto& volume : volumes) {
    const auto name = volume.value("/persistentVolumeClaim/claimName"_json_pointer, std::string());
    if (!name.empty()) names.push_back(name);
  }
  return names;
}

// What only the API server may set: a cluster that takes the manifest sets its own.
kube::Object portable(kube::Object object) {
  nlohmann::json& metadata = object.json()["metadata"];
  for (const char* field :
       {"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields",
        "ownerReferences", "finalizers", "deletionTimestamp"}) {
    metadata.erase(field);
  }
  object.json().erase("status");
  if (object.kind() == "PersistentVolumeClaim") object.json()["spec"].erase("volumeName");
  return object;
}

}  // namespace

std::string manifest_path(kube::Reader& reader, const kube::Object& vm,
                          const std::string& default_directory) {
  std::filesystem::path directory = std::filesystem::path(default_directory) / vm.ns();
  const std::vector<std::string> claims = claims_of(vm);
  if (!claims.empty()) {
    const auto claim =
        reader.get(kube::types::kPersistentVolumeClaim, {vm.ns(), claims.front()}, {});
    const auto path = claim ? claim->annotation(kPathAnnotation) : std::nullopt;
    // .../<namespace>/<claim>/disk.img; a device has no directory of ours.
    if (path && !path->starts_with("/dev/")) {
      directory = std::filesystem::path(*path).parent_path().parent_path();
    }
  }
  return (directory / (vm.name() + ".yaml")).string();
}

ManifestWriter::ManifestWriter(kube::Reader& reader, std::string default_directory,
                               const Clock& clock, const Logger& log)
    : reader_(reader),
      default_directory_(std::move(default_directory)),
      log_(log),
      informer_(reader, kube::types::kVirtualMachine,
                {.on_object = [this](const kube::Object& vm) { write(vm); },
                 .on_deleted = [this](const kube::Object& vm) { remove(vm); }},
                clock, log) {}

void ManifestWriter::write(const kube::Object& vm) {
  for (const kube::OwnerReference& owner : vm.owners()) {
    if (owner.controller) return;  // its import has not let go of it
  }
  std::string text =
      "# Made by VMFerry. The claims below hold verified copies of the source's disks.\n";
  for (const std::string& name : claims_of(vm)) {
    const auto claim = reader_.get(kube::types::kPersistentVolumeClaim, {vm.ns(), name}, {});
    if (!claim) {
      log_.warn("claim of a virtual machine cannot be read", claim.error(), {{"claim", name}});
      continue;
    }
    text += "---\n" + api::to_yaml(portable(*claim));
  }
  text += "---\n" + api::to_yaml(portable(vm));
  const std::string path = manifest_path(reader_, vm, default_directory_);
  if (const auto same = read_file(path); same && *same == text) return;
  auto made = make_directories(std::filesystem::path(path).parent_path().string());
  if (made) made = write_file_atomically(path, text);
  if (!made) log_.error("manifest not written", made.error(), {{"path", path}});
}

void ManifestWriter::remove(const kube::Object& vm) {
  const std::string path = manifest_path(reader_, vm, default_directory_);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    log_.error("manifest not removed", errno_error(errno, path));
  }
}

}  // namespace vmferry::embedded
