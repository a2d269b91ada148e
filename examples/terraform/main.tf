# User data for hosts with rollcall, for Flatcar and Fedora CoreOS. It uses no provider. It writes the two files
# /etc/ecs/ecs.config and /etc/rollcall/rollcall.env whole: what units/rollcall.bu has in them is not used. More settings
# for them go into ecs_config and rollcall_env.

variable "ignition" {
  description = "What butane makes of units/rollcall.bu: file(\"rollcall.ign\")."
  type        = string
  validation {
    condition     = can(jsondecode(var.ignition).ignition.version)
    error_message = "Run: butane --strict --files-dir units units/rollcall.bu >rollcall.ign"
  }
}

variable "cluster" {
  description = "Name of the ECS cluster."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.cluster))
    error_message = "An ECS cluster's name has letters, digits, - and _, 255 at most."
  }
}

variable "region" {
  description = "AWS region of the cluster."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.region))
    error_message = "Write a region such as us-east-1."
  }
}

variable "image" {
  description = "Image of the agent, such as REGISTRY/rollcall:0.1.0."
  type        = string
  validation {
    condition     = can(regex("^[^\\s]+$", var.image))
    error_message = "An image's name has no space or line end."
  }
}

variable "store" {
  description = "URL of the store, such as etcd://10.0.0.11:2379,10.0.0.12:2379."
  type        = string
  validation {
    condition     = can(regex("^etcds?://[^\\s]+$", var.store))
    error_message = "Write etcd:// or etcds://, and at least one HOST:PORT."
  }
}

variable "ecs_config" {
  description = "More lines for /etc/ecs/ecs.config, such as [\"ECS_ENABLE_TASK_IAM_ROLE=true\"]."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for line in var.ecs_config : can(regex("^[A-Za-z_][A-Za-z0-9_]*=[^\\r\\n]*$", line))])
    error_message = "Write NAME=value, without a line end."
  }
}

variable "rollcall_env" {
  description = "More lines for /etc/rollcall/rollcall.env, such as [\"ROLLCALL_LABEL=role=node\"]."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for line in var.rollcall_env : can(regex("^[A-Za-z_][A-Za-z0-9_]*=[^\\r\\n]*$", line))])
    error_message = "Write NAME=value, without a line end."
  }
}

locals {
  values = {
    "/etc/ecs/ecs.config"        = "ECS_CLUSTER=${var.cluster}\nAWS_REGION=${var.region}\n"
    "/etc/rollcall/rollcall.env" = "ROLLCALL_IMAGE=${var.image}\nROLLCALL_STORE=${var.store}\n"
  }
  more = { "/etc/ecs/ecs.config" = var.ecs_config, "/etc/rollcall/rollcall.env" = var.rollcall_env }
  files = {
    ignition = { version = "3.3.0" }
    storage = { files = [
      for path, text in local.values : {
        path      = path
        mode      = 384 # 0600
        overwrite = true
        contents  = { source = "data:;base64,${base64encode(join("", concat([text], formatlist("%s\n", local.more[path]))))}" }
      }
    ] }
  }
}

output "user_data" {
  description = "For user_data of an instance; base64encode() it for a launch template. EC2 takes 16 kB."
  # Of two configurations that are merged the later one wins. Packed, because EC2 takes 16 kB.
  value = jsonencode({ ignition = { version = "3.3.0", config = { merge = [
    { source = "data:;base64,${base64gzip(var.ignition)}", compression = "gzip" },
    { source = "data:;base64,${base64encode(jsonencode(local.files))}" },
  ] } } })
}
