//! nginx as a plain reverse proxy: the floor for what any proxy costs.

use super::Place;

/// A process for each core, connections kept on both sides, streams passed on as they come, no log.
pub(super) fn configuration(place: &Place<'_>) -> String {
    let Place { address, node, .. } = place;
    let temporary = place.directory.display();
    format!(
        "daemon off;
worker_processes auto;
pid {temporary}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size 16m;
    client_body_temp_path {temporary}/body;
    proxy_temp_path {temporary}/proxy;
    fastcgi_temp_path {temporary}/fastcgi;
    uwsgi_temp_path {temporary}/uwsgi;
    scgi_temp_path {temporary}/scgi;
    upstream node {{ server {node}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://node;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"
    )
}
